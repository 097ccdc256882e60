"""Status events on Redis pub/sub: one channel for each order."""

import json
from collections.abc import Sequence
from typing import Any

import redis
import stamina

from execution.adapters.batching import Batches
from execution.adapters.frames import Frame

CHANNEL_PREFIX = "order-events:"
PUBLISH_TRIES = 3


def channel(order_id: Any) -> str:
    return f"{CHANNEL_PREFIX}{order_id}"


class Publisher:
    """Publishes frames, those of one moment in one pipeline.

    Three tries; after that the frame is given up, and the position check of the ws-gateway
    delivers the event from PostgreSQL.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._batches: Batches[Frame, None] = Batches(
            self._publish, name="publisher", batch_max=256, backlog_max=10_000
        )

    async def publish(self, frame: Frame) -> None:
        """Raises redis.RedisError when no try succeeded."""
        await self._batches.call(frame)

    def close(self) -> None:
        self._batches.close()

    @stamina.retry(on=redis.RedisError, attempts=PUBLISH_TRIES, wait_initial=0.05, wait_max=0.5)
    def _publish(self, frames: Sequence[Frame]) -> list[None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for frame in frames:
                pipeline.publish(
                    channel(frame["orderId"]), json.dumps(frame, separators=(",", ":"))
                )
            pipeline.execute()
        return [None] * len(frames)
