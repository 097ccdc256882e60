import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
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
from order_engine.execution.orders.moves import FailedAttempt
from order_engine.order_worker.order_store import OrderStore
from order_engine.order_worker.steps import STEPS, IntentExpired, Market, new_intent

BACKOFF_MAX_S = 60.0
RELEASE_TIMEOUT_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Up to `attempts_max` attempts. The delay before the next doubles from `backoff_s` to at most
    60 s, and is multiplied by a random factor from 0.5 to 1.

    An order that was claimed more than `claims_max` times without a move fails; when its intent may
    still land, each further claim waits `stuck_delay_s` before it continues.
    """

    attempts_max: int
    backoff_s: float
    claims_max: int = 20
    stuck_delay_s: float = 5.0

    def delay_s(self, attempt: int) -> float:
        longest = min(self.backoff_s * (1 << (attempt - 1)), BACKOFF_MAX_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret


class Executor:
    """Executes claimed orders: runs the step of an order's status, commits the move, and repeats.

    A lease is renewed while the context `lease_held` is open.
    """

    def __init__(
        self,
        *,
        orders: OrderStore,
        market: Market,
        retry: RetryPolicy,
        lease_held: Callable[[ClaimedOrder], AbstractContextManager[None]],
    ) -> None:
        self._orders = orders
        self._market = market
        self._retry = retry
        self._lease_held = lease_held

    async def execute(self, order_id: str) -> None:
        """The job of the order queue: claims the order and executes it.

        Raises StoreUnavailable when the order may or may not have been claimed.
        """
        claiming = asyncio.ensure_future(self._orders.claim(OrderId(UUID(order_id))))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # without a release this claim would count as one that came to no move
            await _release_in_time(self._release_claimed(claiming))
            raise
        metrics.ORDERS_CLAIMED.labels(way="hint" if claimed else "refused").inc()
        if claimed is not None:
            await self.execute_claimed(claimed)

    async def execute_claimed(self, claimed: ClaimedOrder) -> None:
        """Executes an order until it is final, postponed, or fenced by a later claim.

        When PostgreSQL does not answer, the order is left to recovery, which claims it once its
        lease has expired.
        """
        with (
            structlog.contextvars.bound_contextvars(order_id=str(claimed.order.id)),
            self._lease_held(claimed),
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
                await _release_in_time(self._orders.release(claimed))
                raise

    async def _release_claimed(self, claiming: Awaitable[ClaimedOrder | None]) -> None:
        claimed = await claiming
        if claimed is not None:
            await self._orders.release(claimed)

    async def _advance(self, claimed: ClaimedOrder) -> ClaimedOrder | None:
        """The order after its next write; None when this claim has nothing more to do."""
        try:
            if claimed.order.claims > self._retry.claims_max:
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
        log.info("order moved", source=move.source, target=move.target, seq=event.seq)
        if event.status in FINAL:
            lasted = event.occurred_at - claimed.order.created_at
            metrics.ORDER_SECONDS_TOTAL.labels(status=event.status).observe(lasted.total_seconds())
        return claimed.after(move, event)

    async def _record_next_intent(self, claimed: ClaimedOrder) -> ClaimedOrder | None:
        """Records a further intent after the last one expired; the status stays `submitted`."""
        intent = await new_intent(claimed, self._market)
        if not await self._orders.record_intent(claimed, intent):
            log.info("order fenced", source=claimed.order.status, target=claimed.order.status)
            return None
        return claimed.holding(intent)

    async def _postpone(self, claimed: ClaimedOrder, error: VenueUnavailable) -> Transition | None:
        """Records a failed attempt and when to try again; the move to `failed` after the last one.

        It never fails an order whose intent may still land, however often the venue does not answer.
        """
        metrics.ORDER_ATTEMPTS.labels(step=claimed.order.status).inc()
        attempt = claimed.order.attempts + 1
        expired = isinstance(error, IntentExpired)
        may_land = claimed.intent is not None and not expired
        # calls that failed while an intent was live do not use up the order's transactions
        tries = claimed.intents if expired else attempt
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
                error_code="intent_expired" if expired else AttemptsExhausted.code,
                delay_s=delay_s,
                dead_intent=claimed.intent.n if claimed.intent and expired else None,
            )
        )
        return None

    async def _slow_down(self, claimed: ClaimedOrder) -> None:
        """Waits before an order that was claimed too often without a move, because it may crash its
        workers. Raises StuckWithoutMove when it has no intent that could land.
        """
        if claimed.intent is None:
            raise StuckWithoutMove(f"claimed {claimed.order.claims} times without a move")
        metrics.ORDERS_HUNG.inc()
        log.error("order claimed again and again with a live intent", claims=claimed.order.claims)
        await asyncio.sleep(self._retry.stuck_delay_s)


async def _release_in_time(release: Awaitable[object]) -> None:
    """Waits for a release; gives up after 2 s, since the lease expires by itself."""
    try:
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            await release
    except (TimeoutError, StoreUnavailable, Overloaded, psycopg2.Error) as error:
        log.warning("lease not released; it expires by itself", error=str(error) or "no answer")
