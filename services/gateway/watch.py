"""What every gateway keeps an eye on: the backlog, the queues, and the truth of what is written.

Each look is bounded, and a store that does not answer leaves the last figures standing.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import psycopg2
import redis
import structlog

from execution import metrics
from execution.adapters.orders import Orders
from execution.adapters.queues import JOB_PREFIX, ORDER_QUEUE, QUEUE_PREFIX, status_queue
from execution.domain.errors import ExecutionError
from execution.domain.status import OrderStatus

BACKLOG_EVERY_S = 1.0
QUEUES_EVERY_S = 5.0
AUDIT_EVERY_S = 5.0
AUDIT_LAG_S = 2.0  # what is being committed now is looked at in the next pass
AUDIT_MAX = 10_000
STUCK_PATIENCE_S = 30.0

QUEUES = (ORDER_QUEUE, *(status_queue(status) for status in OrderStatus))

log = structlog.get_logger()


class Watch:
    """Looks by itself while `run` runs. `orders_waiting_max` 0 lifts the bound of the backlog."""

    def __init__(
        self,
        orders: Orders,
        client: redis.Redis,
        *,
        orders_waiting_max: int,
        now: Callable[[], datetime],
    ) -> None:
        self.backlog_is_full = False
        self._orders = orders
        self._client = client
        self._orders_waiting_max = orders_waiting_max
        self._now = now
        self._audited_until: datetime | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(BACKLOG_EVERY_S, self.look_at_backlog))
            tasks.create_task(_every(QUEUES_EVERY_S, self.look_at_queues))
            tasks.create_task(_every(AUDIT_EVERY_S, self.audit))

    async def look_at_backlog(self) -> None:
        bound = self._orders_waiting_max or AUDIT_MAX
        waiting = await self._orders.count_waiting(before=None, lag_s=0, most=bound + 1)
        metrics.ORDERS_WAITING.set(waiting)
        self.backlog_is_full = 0 < self._orders_waiting_max < waiting
        metrics.ORDERS_STUCK.set(await self._orders.count_stuck(patience_s=STUCK_PATIENCE_S))

    async def look_at_queues(self) -> None:
        looks = await asyncio.to_thread(self._read_queues)
        for queue, (depth, created_at) in zip(QUEUES, looks, strict=True):
            metrics.QUEUE_DEPTH.labels(queue=queue).set(depth)
            age_s = self._now().timestamp() - created_at if created_at else 0.0
            metrics.QUEUE_OLDEST_SECONDS.labels(queue=queue).set(max(age_s, 0.0))

    async def audit(self) -> None:
        """Judges what has changed since the last pass; in a healthy engine it finds nothing."""
        since = self._audited_until or await self._orders.clock() - timedelta(minutes=10)
        judged = await self._orders.audit(since=since, lag_s=AUDIT_LAG_S, most=AUDIT_MAX)
        for order in judged:
            for invariant in order.broken:
                metrics.INVARIANT_VIOLATIONS.labels(invariant=invariant).inc()
                log.error("invariant broken", invariant=invariant, order_id=str(order.order_id))
        if judged:
            self._audited_until = judged[-1].changed_at + timedelta(microseconds=1)

    def _read_queues(self) -> Sequence[tuple[int, float | None]]:
        with self._client.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.llen(QUEUE_PREFIX + queue)
                pipeline.lindex(QUEUE_PREFIX + queue, 0)
            answers = pipeline.execute()
            depths, heads = answers[::2], answers[1::2]
            for head in heads:
                pipeline.hget(JOB_PREFIX + (head or b"").decode(errors="replace"), "meta")
            metas = pipeline.execute()
        return [(depth, _created_at(meta)) for depth, meta in zip(depths, metas, strict=True)]


async def _every(every_s: float, look: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await look()
        except (ExecutionError, psycopg2.Error, redis.RedisError) as error:
            log.warning("a look failed, tries again", look=look.__name__, error=str(error))
        except Exception:
            log.exception("a look failed unexpectedly", look=look.__name__)
        await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load


def _created_at(meta: Any) -> float | None:
    with suppress(ValueError, TypeError, KeyError):
        return float(json.loads(meta)["created_at"])
    return None
