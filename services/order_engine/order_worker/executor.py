import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from uuid import UUID

import psycopg2
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import (
    AttemptsExhausted,
    OrderFailed,
    Overloaded,
    StoreUnavailable,
    StuckWithoutMove,
    VenueUnavailable,
)
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder, Transition
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.hints import Hints
from order_engine.execution.orders.moves import FailedAttempt
from order_engine.execution.orders.repository import Orders
from order_engine.order_worker.leases import Leases
from order_engine.order_worker.steps import STEPS, IntentDied, Market, new_intent

CLAIMS_MAX = 20
BACKOFF_MAX_S = 60.0
SLOW_DOWN_S = 5.0
RELEASE_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Up to `attempts_max` tries; the pause doubles from `backoff_s`, half of it by chance."""

    attempts_max: int
    backoff_s: float

    def delay_s(self, attempt: int) -> float:
        longest = min(self.backoff_s * (1 << (attempt - 1)), BACKOFF_MAX_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret


class Executor:
    """Carries a claimed order from the status it stands at to its end, or until it must wait."""

    def __init__(
        self,
        orders: Orders,
        market: Market,
        hints: Hints,
        leases: Leases,
        retry: RetryPolicy,
    ) -> None:
        self._orders = orders
        self._market = market
        self._hints = hints
        self._leases = leases
        self._retry = retry

    async def execute(self, order_id: str) -> None:
        """The job of the order queue: a hint that an order waits.

        Raises StoreUnavailable when it cannot be known whether the order has been claimed.
        """
        claiming = asyncio.ensure_future(self._orders.claim(OrderId(UUID(order_id))))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # a claim that nobody carries would count against the order, as one that came to nothing
            await _shortly(self._release_once(claiming))
            raise
        metrics.ORDERS_CLAIMED.labels(way="hint" if claimed else "refused").inc()
        if claimed is not None:
            await self.carry(claimed)

    async def carry(self, claimed: ClaimedOrder) -> None:
        """Moves the order on until it is final, postponed, or held by a later claim."""
        with (
            structlog.contextvars.bound_contextvars(order_id=str(claimed.order.id)),
            self._leases.held(claimed),
        ):
            try:
                while claimed.order.status not in FINAL:
                    after = await self._advance(claimed)
                    if after is None:
                        return
                    claimed = after
            except (StoreUnavailable, Overloaded) as error:
                log.warning("order left to recovery", error=str(error))
            except psycopg2.Error as error:
                log.error("order left to recovery: write refused", error=str(error))
            except asyncio.CancelledError:
                await _shortly(self._orders.release(claimed))
                raise

    async def _release_once(self, claiming: Awaitable[ClaimedOrder | None]) -> None:
        if (claimed := await claiming) is not None:
            await self._orders.release(claimed)

    async def _advance(self, claimed: ClaimedOrder) -> ClaimedOrder | None:
        try:
            if claimed.order.claims > CLAIMS_MAX:
                await self._slow_down(claimed)
            if claimed.order.status is OrderStatus.SUBMITTED and claimed.intent is None:
                return await self._record_next_intent(claimed)
            move = await STEPS[claimed.order.status](claimed, self._market)
        except OrderFailed as failure:
            move = claimed.failed(failure)
        except VenueUnavailable as error:
            exhausted = await self._postpone(claimed, error)
            if exhausted is None:
                return None
            move = exhausted
        return await self._commit(claimed, move)

    async def _commit(self, claimed: ClaimedOrder, move: Transition) -> ClaimedOrder | None:
        event = await self._orders.move(move)
        if event is None:
            log.info("order fenced", source=move.source, target=move.target)
            return None
        self._hints.order_moved(event)
        log.info("order moved", source=move.source, target=move.target, seq=event.seq)
        if event.status in FINAL:
            lasted = event.occurred_at - claimed.order.created_at
            metrics.ORDER_SECONDS_TOTAL.labels(status=event.status).observe(lasted.total_seconds())
        return claimed.after(move, event)

    async def _record_next_intent(self, claimed: ClaimedOrder) -> ClaimedOrder | None:
        """A further transaction, after the last one died; the visible status stays `submitted`."""
        intent = await new_intent(claimed, self._market)
        if not await self._orders.record_intent(claimed, intent):
            log.info("order fenced", source=claimed.order.status, target=claimed.order.status)
            return None
        return claimed.holding(intent)

    async def _postpone(self, claimed: ClaimedOrder, error: VenueUnavailable) -> Transition | None:
        """Writes the failed attempt and when to try again; the move to `failed` when none is left.

        An order whose intent may still land is never failed, however often its venue does not
        answer.
        """
        metrics.ORDER_ATTEMPTS.labels(step=claimed.order.status).inc()
        attempt = claimed.order.attempts + 1
        died = isinstance(error, IntentDied)
        may_land = claimed.intent is not None and not died
        # a death counts transactions: failed questions to the venue must not use up its tries
        tries = claimed.intents if died else attempt
        if tries >= self._retry.attempts_max and not may_land:
            return claimed.failed(AttemptsExhausted(str(error)))
        delay_s = self._retry.delay_s(attempt)
        log.info("attempt failed", attempt=attempt, delay_s=round(delay_s, 3), error=str(error))
        await self._orders.record_failed_attempt(
            FailedAttempt(
                order_id=claimed.order.id,
                epoch=claimed.epoch,
                attempt=attempt,
                step=claimed.order.status,
                venue=claimed.intent.venue if claimed.intent else claimed.order.venue,
                error_code="intent_expired" if died else AttemptsExhausted.code,
                delay_s=delay_s,
                dead_intent=claimed.intent.n if claimed.intent and died else None,
            )
        )
        return None

    async def _slow_down(self, claimed: ClaimedOrder) -> None:
        """Something ends this order's workers: it fails, or, while it may land, goes on slowly."""
        if claimed.intent is None:
            raise StuckWithoutMove(f"claimed {claimed.order.claims} times without a move")
        metrics.ORDERS_HUNG.inc()
        log.error("order claimed again and again with a live intent", claims=claimed.order.claims)
        await asyncio.sleep(SLOW_DOWN_S)


async def _shortly(release: Awaitable[object]) -> None:
    """Waits for a release while it goes quickly: the lease lapses anyway."""
    try:
        async with asyncio.timeout(RELEASE_S):
            await release
    except (TimeoutError, StoreUnavailable, Overloaded, psycopg2.Error) as error:
        log.warning("lease left to lapse", error=str(error) or "no answer in time")
