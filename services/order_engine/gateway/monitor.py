"""Background checks of every gateway: the backlog, the queues, and the invariants of orders.

Each check is bounded. While a store is away, the metrics keep their last values.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import psycopg2
import redis
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import ORDER_QUEUE, status_queue
from order_engine.execution.orders.audit import AuditedOrder, Change
from order_engine.execution.orders.repository import Orders
from rq_slots.enqueue import queue_states

BACKLOG_EVERY_S = 1.0
QUEUES_EVERY_S = 5.0
AUDIT_EVERY_S = 20.0
AUDIT_LAG_S = 2.0  # newer changes may not be committed yet: the next pass reads them
AUDIT_BACK_S = 10.0  # a change may be committed this late: a statement may run for 5 s
AUDIT_FIRST_S = 600.0
AUDIT_BATCH_MAX = 10_000
AUDIT_BATCHES_MAX = 10
VIOLATIONS_MAX = 10_000
WAITING_MAX = 10_000
STUCK_PATIENCE_S = 30.0

QUEUES = (ORDER_QUEUE, *(status_queue(status) for status in OrderStatus))

log = structlog.get_logger()


class Monitor:
    """Checks while `run` runs. `orders_waiting_max` 0 means no bound on the backlog."""

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
        self._newest: datetime | None = None  # the time of the newest audited change
        self._audited: Change | None = None  # the next pass starts after this one
        self._violations: dict[tuple[OrderId, str], None] = {}  # already counted, oldest first

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(BACKLOG_EVERY_S, self.check_backlog))
            tasks.create_task(_every(QUEUES_EVERY_S, self.check_queues))
            tasks.create_task(_every(AUDIT_EVERY_S, self.audit))

    async def check_backlog(self) -> None:
        bound = self._orders_waiting_max or WAITING_MAX
        waiting = await self._orders.count_waiting(before=None, lag_s=0, most=bound + 1)
        metrics.ORDERS_WAITING.set(waiting)
        self.backlog_is_full = 0 < self._orders_waiting_max < waiting
        metrics.ORDERS_STUCK.set(await self._orders.count_stuck(patience_s=STUCK_PATIENCE_S))

    async def check_queues(self) -> None:
        states = await asyncio.to_thread(queue_states, self._client, QUEUES)
        for queue, state in states.items():
            metrics.QUEUE_DEPTH.labels(queue=queue).set(state.depth)
            age_s = 0.0 if state.head is None else self._now().timestamp() - state.head
            metrics.QUEUE_OLDEST_SECONDS.labels(queue=queue).set(max(age_s, 0.0))

    async def audit(self) -> None:
        """Audits the orders that changed since the last pass; reports broken invariants.

        After a pass that reached the newest change, the next one starts AUDIT_BACK_S before it, to
        find changes that were committed late. A pass that hits its limit continues next time.
        """
        if self._newest is None:
            self._newest = await self._orders.clock() - timedelta(seconds=AUDIT_FIRST_S)
        last = self._audited or Change(changed_at=self._newest)
        for _ in range(AUDIT_BATCHES_MAX):
            audited = await self._orders.audit(beyond=last, lag_s=AUDIT_LAG_S, most=AUDIT_BATCH_MAX)
            for order in audited:
                self._report(order)
            last = audited[-1].change if audited else last
            if len(audited) < AUDIT_BATCH_MAX:
                self._newest = max(self._newest, last.changed_at)
                back = self._newest - timedelta(seconds=AUDIT_BACK_S)
                self._audited = Change(changed_at=back)
                return
        self._audited = last

    def _report(self, order: AuditedOrder) -> None:
        """Counts each violation once, although its order is audited in several passes."""
        order_id = order.change.order_id
        for invariant in order.broken:
            if (order_id, invariant) in self._violations:
                continue
            self._violations[order_id, invariant] = None
            if len(self._violations) > VIOLATIONS_MAX:
                del self._violations[next(iter(self._violations))]
            metrics.INVARIANT_VIOLATIONS.labels(invariant=invariant).inc()
            log.error("invariant broken", invariant=invariant, order_id=str(order_id))


async def _every(every_s: float, check: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await check()
        except (ExecutionError, psycopg2.Error, redis.RedisError) as error:
            log.warning("background check failed, retrying", check=check.__name__, error=str(error))
        except Exception:
            log.exception("background check failed unexpectedly", check=check.__name__)
        await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
