"""Claims the orders that no hint leads to, once a second in every worker.

1. Started orders that are due and not leased: their worker died or released them, or they were
   postponed after a venue failure.
2. Waiting orders whose hint is lost. The queue is first in, first out, so an order placed well
   before the job at its head has lost its hint. While Redis is away, every waiting order counts as
   one that has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import psycopg2
import redis
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.messages.hints import order_job_id
from order_engine.order_worker.order_store import OrderStore
from order_engine.order_worker.shutdown import unless_stopped
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots

EVERY_S = 1.0  # while Redis is away, twice as often
HINT_LAG_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Waiting orders placed more than `lag_s` before `head` (now, when None) have lost their hint."""

    head: datetime | None
    lag_s: float


class LastClaim(Protocol):
    """What the last claim of jobs reported: `head` is when the oldest job of the queue was written,
    in Unix seconds.
    """

    @property
    def head(self) -> float | None: ...

    @property
    def empty(self) -> bool: ...

    @property
    def suspended(self) -> bool: ...


class HintQueue(Protocol):
    """The order queue, as the worker that claims its jobs last saw it."""

    @property
    def without_redis(self) -> bool: ...

    @property
    def last_claim(self) -> LastClaim | None: ...


class Recovery:
    """Takes free slots, claims orders for them, and gives back the slots that it did not need."""

    def __init__(
        self,
        *,
        orders: OrderStore,
        queue: HintQueue,
        slots: Slots,
        window: RateWindow,
        execute: Callable[[ClaimedOrder], Awaitable[None]],
    ) -> None:
        self._orders = orders
        self._queue = queue
        self._slots = slots
        self._window = window
        self._execute = execute
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Claims and executes orders until `stop` is set; `drain` ends those that still run."""
        while not stop.is_set():
            every_s = EVERY_S / 2 if self._queue.without_redis else EVERY_S
            try:
                more = await unless_stopped(stop, self._claim_once(stop, every_s))
            except (ExecutionError, psycopg2.Error) as error:
                log.warning("recovery failed, retrying", error=str(error))
                more = False
            if not more:
                try:
                    await asyncio.wait_for(stop.wait(), every_s)
                except TimeoutError:
                    continue

    async def drain(self, *, timeout_s: float) -> None:
        """Waits for running orders; those that run longer than `timeout_s` are released."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _claim_once(self, stop: asyncio.Event, timeout_s: float) -> bool:
        """True when waiting orders filled every free slot, which means that more may wait."""
        free = await self._slots.take(self._slots.count, timeout_s=timeout_s)
        try:
            if free == 0 or stop.is_set():
                return False
            started = await self._orders.claim_started(most=free)
            free -= self._start(started, way="started")
            waiting = await self._claim_waiting(free) if free else []
            way = "without_redis" if self._queue.without_redis else "watermark"
            free -= self._start(waiting, way=way)
            return bool(waiting) and free == 0
        finally:
            self._slots.give_back(free)

    async def _claim_waiting(self, most: int) -> Sequence[ClaimedOrder]:
        watermark = self._watermark()
        if watermark is None:
            return []
        waiting = await self._orders.count_waiting(
            before=watermark.head, lag_s=watermark.lag_s, most=most
        )
        if waiting == 0:
            return []
        own = self._window.reserve_local(waiting)
        claimed: Sequence[ClaimedOrder] = ()
        try:
            if self._queue.without_redis or self._window.limit == 0:
                claimed = await self._claim_before(watermark, own.reserved)
            else:
                claimed = await self._claim_with_tokens(watermark, own.reserved)
        finally:
            self._window.settle_local(own, started=len(claimed))
        return claimed

    async def _claim_before(self, watermark: Watermark, most: int) -> Sequence[ClaimedOrder]:
        if most <= 0:
            return []
        return await self._orders.claim_waiting(
            before=watermark.head, lag_s=watermark.lag_s, most=most
        )

    async def _claim_with_tokens(self, watermark: Watermark, most: int) -> Sequence[ClaimedOrder]:
        """Takes tokens before it claims, so that starts stay within the limit; returns unused ones."""
        claimed: Sequence[ClaimedOrder] = ()
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
            log.warning("rate-limit tokens not returned; they expire in 60 s", error=str(error))
        return claimed

    def _watermark(self) -> Watermark | None:
        """None when the head of the queue is not known."""
        if self._queue.without_redis:
            return Watermark(head=None, lag_s=0)
        claim = self._queue.last_claim
        if claim is None or claim.suspended or (claim.head is None and not claim.empty):
            return None
        head = None if claim.head is None else datetime.fromtimestamp(claim.head, UTC)
        return Watermark(head=head, lag_s=HINT_LAG_S)

    def _start(self, claimed: Sequence[ClaimedOrder], *, way: str) -> int:
        for each in claimed:
            metrics.ORDERS_CLAIMED.labels(way=way).inc()
            task = asyncio.create_task(self._run_in_slot(each))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(claimed)

    async def _run_in_slot(self, claimed: ClaimedOrder) -> None:
        try:
            await self._execute(claimed)
        except Exception:
            log.exception("recovered order failed", order_id=str(claimed.order.id))
        finally:
            self._slots.give_back(1)
