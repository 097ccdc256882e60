"""The job of the six status queues for a stock `rq worker`, which has no publisher of its own."""

import asyncio

from execution.adapters.pubsub import Publisher
from execution.adapters.redis_clients import redis_client
from execution.settings import StatusDispatcherSettings, read_settings


def publish(order_id: str, message: str, committed_at: float) -> None:
    publisher = Publisher(redis_client(read_settings(StatusDispatcherSettings).pubsub_url))
    try:
        asyncio.run(publisher.publish(order_id, message))
    finally:
        publisher.close()
