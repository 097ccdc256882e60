"""The job of the status queues, as a stock `rq worker` runs it: with a publisher per job."""

from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import StatusDispatcherSettings
from order_engine.execution.stores.redis_clients import redis_client


def publish(order_id: str, message: str, committed_at: float) -> None:
    publisher = Publisher(redis_client(read_settings(StatusDispatcherSettings).pubsub_url))
    publisher.publish([(order_id, message)])
