"""Publishes frames on Redis pub/sub."""

import random
import time
from collections.abc import Sequence

import redis

from order_engine.execution import metrics
from order_engine.execution.messages.channels import channel
from rq_slots.direct_connection import DirectConnection

PAUSES_S = (0.05, 0.1)  # before the second and the third try


class Publisher:
    """Publishes sealed frames, on one connection of its own. For one thread."""

    def __init__(self, client: redis.Redis) -> None:
        self._connection = DirectConnection(client)
        self._size = metrics.BATCH_SIZE.labels(batches="publisher")

    def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Publishes pairs of order id and sealed frame. Raises redis.RedisError when every try failed;
        the position check of the ws-gateway then delivers the events from PostgreSQL.
        """
        self._size.observe(len(messages))
        # a forged text that has no encoding must not fail the others
        commands = [
            ("PUBLISH", channel(order_id).encode(errors="replace"), text.encode(errors="replace"))
            for order_id, text in messages
        ]
        for pause_s in PAUSES_S:
            try:
                self._connection.call(*commands)
            except redis.RedisError:
                time.sleep(pause_s * random.uniform(1, 2))  # noqa: S311 - spreads load
            else:
                return
        self._connection.call(*commands)

    def close(self) -> None:
        self._connection.close()
