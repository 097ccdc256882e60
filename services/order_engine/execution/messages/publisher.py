"""Publishes frames on Redis pub/sub: one channel per order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import stamina

from order_engine.execution.stores.batches import Batches

CHANNEL_PREFIX = "order-events:"
PUBLISH_TRIES = 3


def channel(order_id: Any) -> str:
    return f"{CHANNEL_PREFIX}{order_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    channel: bytes
    message: bytes


class Publisher:
    """Publishes sealed frames in the order of the calls; concurrent calls share a pipeline.

    After PUBLISH_TRIES the frame is dropped, and the position check of the ws-gateway delivers the
    event from PostgreSQL.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._batches: Batches[Publication, None] = Batches(
            self._publish, name="publisher", batch_max=256, backlog_max=10_000
        )

    async def publish(self, order_id: str, message: str) -> None:
        """Raises redis.RedisError when every try failed."""
        # encoded here, so that a message that cannot be encoded fails alone
        await self._batches.call(
            Publication(channel=channel(order_id).encode(), message=message.encode())
        )

    def close(self) -> None:
        self._batches.close()

    @stamina.retry(on=redis.RedisError, attempts=PUBLISH_TRIES, wait_initial=0.05, wait_max=0.5)
    def _publish(self, publications: Sequence[Publication]) -> list[None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for publication in publications:
                pipeline.publish(publication.channel, publication.message)
            pipeline.execute()
        return [None] * len(publications)
