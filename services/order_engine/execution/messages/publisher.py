"""Publishes frames on Redis pub/sub: one channel per order."""

from collections.abc import Sequence
from typing import Any

import redis
import stamina

from order_engine.execution import metrics

CHANNEL_PREFIX = "order-events:"
PUBLISH_TRIES = 3


def channel(order_id: Any) -> str:
    return f"{CHANNEL_PREFIX}{order_id}"


class Publisher:
    """Publishes sealed frames, in one pipeline per call."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._size = metrics.BATCH_SIZE.labels(batches="publisher")

    @stamina.retry(on=redis.RedisError, attempts=PUBLISH_TRIES, wait_initial=0.05, wait_max=0.5)
    def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Publishes pairs of order id and sealed frame. Raises redis.RedisError when every try failed;
        the position check of the ws-gateway then delivers the events from PostgreSQL.
        """
        self._size.observe(len(messages))
        with self._client.pipeline(transaction=False) as pipeline:
            for order_id, message in messages:
                # a forged text that has no encoding must not fail the others
                pipeline.publish(
                    channel(order_id).encode(errors="replace"), message.encode(errors="replace")
                )
            pipeline.execute()
