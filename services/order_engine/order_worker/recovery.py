"""Work that no hint brings: two claims from PostgreSQL, made by every worker each second.

1. Started orders whose lease has run out and that are due: their claimer died, gave them back, or
   postponed them after a venue failure.
2. Waiting orders whose hint is lost. The queue is first in, first out, so an order placed well
   before the one at its head has no hint any more. While Redis is away, every waiting order is one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2
import redis
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.messages.hints import order_job_id
from order_engine.execution.orders.repository import Orders
from order_engine.order_worker.shutdown import answered
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker

EVERY_S = 1.0
WITHOUT_REDIS_EVERY_S = 0.5
HINT_LAG_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Waiting orders placed more than `lag_s` before `head` (now, when None) have no hint."""

    head: datetime | None
    lag_s: float


class Recovery:
    """Takes free slots, fills them from PostgreSQL, and gives back the rest."""

    def __init__(
        self,
        orders: Orders,
        worker: SlotWorker,
        slots: Slots,
        window: RateWindow,
        carry: Callable[[ClaimedOrder], Awaitable[None]],
    ) -> None:
        self._orders = orders
        self._worker = worker
        self._slots = slots
        self._window = window
        self._carry = carry
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            every_s = WITHOUT_REDIS_EVERY_S if self._worker.without_redis else EVERY_S
            try:
                again = await answered(stop, self._round(stop, every_s))
            except (ExecutionError, psycopg2.Error) as error:
                log.warning("recovery failed, tries again", error=str(error))
                again = False
            if not again:
                try:
                    await asyncio.wait_for(stop.wait(), every_s)
                except TimeoutError:
                    continue

    async def drain(self, *, timeout_s: float) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _round(self, stop: asyncio.Event, timeout_s: float) -> bool:
        """One look; True when waiting orders filled every free slot, so that more may wait."""
        places = await self._slots.take(self._slots.count, timeout_s=timeout_s)
        free = places
        try:
            if places == 0 or stop.is_set():
                return False
            started = await self._orders.claim_started(most=free)
            free -= self._start(started, way="started")
            waiting = await self._claim_waiting(free) if free else []
            way = "without_redis" if self._worker.without_redis else "watermark"
            free -= self._start(waiting, way=way)
            return bool(waiting) and free == 0
        finally:
            self._slots.give_back(free)

    async def _claim_waiting(self, most: int) -> list[ClaimedOrder]:
        watermark = self._watermark()
        if watermark is None:
            return []
        waiting = await self._orders.count_waiting(
            before=watermark.head, lag_s=watermark.lag_s, most=most
        )
        if waiting == 0:
            return []
        own = self._window.reserve_own(waiting)
        claimed: list[ClaimedOrder] = []
        try:
            if self._worker.without_redis or self._window.limit == 0:
                claimed = await self._claim_before(watermark, own.reserved)
            else:
                claimed = await self._claim_with_tokens(watermark, own.reserved)
        finally:
            self._window.settle_own(own, started=len(claimed))
        return claimed

    async def _claim_before(self, watermark: Watermark, most: int) -> list[ClaimedOrder]:
        if most <= 0:
            return []
        return await self._orders.claim_waiting(
            before=watermark.head, lag_s=watermark.lag_s, most=most
        )

    async def _claim_with_tokens(self, watermark: Watermark, most: int) -> list[ClaimedOrder]:
        """Tokens first, so that no start goes beyond the limit; unused ones go back."""
        claimed: list[ClaimedOrder] = []
        if most <= 0:
            return claimed
        try:
            tokens = await asyncio.to_thread(self._window.take, most)
            try:
                claimed = await self._claim_before(watermark, len(tokens))
            finally:
                started = [order_job_id(each.order.id) for each in claimed]
                await asyncio.to_thread(self._window.settle, tokens, started=started)
        except redis.RedisError as error:
            log.warning("tokens not settled; they lapse by themselves", error=str(error))
        return claimed

    def _watermark(self) -> Watermark | None:
        if self._worker.without_redis:
            return Watermark(head=None, lag_s=0)
        claim = self._worker.last_claim
        if claim is None or claim.suspended or (claim.head is None and not claim.empty):
            return None
        head = None if claim.head is None else datetime.fromtimestamp(claim.head, UTC)
        return Watermark(head=head, lag_s=HINT_LAG_S)

    def _start(self, claimed: list[ClaimedOrder], *, way: str) -> int:
        for each in claimed:
            metrics.ORDERS_CLAIMED.labels(way=way).inc()
            task = asyncio.create_task(self._run_in_slot(each))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(claimed)

    async def _run_in_slot(self, claimed: ClaimedOrder) -> None:
        try:
            await self._carry(claimed)
        except Exception:
            log.exception("recovered order failed", order_id=str(claimed.order.id))
        finally:
            self._slots.give_back(1)
