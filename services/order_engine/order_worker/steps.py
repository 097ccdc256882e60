"""What is done with an order at each status, as a table: one step makes one move.

A move is committed before the next step begins, so another claim can continue the order between any
two steps. The move from `building` records the signed transaction as the order's intent before it is
sent. At `submitted`, a claim sends the recorded bytes, again if need be, and builds another
transaction only when the venue has committed that the recorded one never lands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import assert_never

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import (
    AmountTooSmall,
    IllegalTransition,
    SlippageExceeded,
    VenueRejected,
    VenueUnavailable,
)
from order_engine.execution.domain.order import ClaimedOrder, NewOrder, Transition
from order_engine.execution.domain.payload import amount_text, quote_payload
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.routing import best_quote
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import (
    Expiry,
    Fill,
    Intent,
    Outcome,
    Rejection,
)
from order_engine.execution.domain.venue import Venue
from order_engine.order_worker.outcomes import Outcomes

log = structlog.get_logger()


class IntentExpired(VenueUnavailable):
    """The venue has committed that the recorded transaction never lands."""


@dataclass(frozen=True, kw_only=True)  # without slots, for the cached property
class Market:
    """The venues, how long to wait for a quote, and how often to ask for outcomes."""

    venues: Mapping[VenueName, Venue]
    quote_timeout_s: float
    poll_s: float
    now: Callable[[], datetime]

    @cached_property
    def outcomes(self) -> Mapping[VenueName, Outcomes]:
        return {
            name: Outcomes(venue, poll_s=self.poll_s, now=self.now)
            for name, venue in self.venues.items()
        }


async def start(claimed: ClaimedOrder, market: Market) -> Transition:
    return claimed.started()


async def route(claimed: ClaimedOrder, market: Market) -> Transition:
    """Asks all venues at once and chooses the best live quote."""
    quotes = await _quotes(claimed.order, market)
    chosen = best_quote(quotes, client_minimum=claimed.order.min_amount_out, now=market.now())
    metrics.ROUTES_WON.labels(venue=chosen.venue).inc()
    log.info(
        "route chosen", venue=chosen.venue, quotes={q.venue: str(q.effective_price) for q in quotes}
    )
    return claimed.routed(chosen, quotes)


async def build(claimed: ClaimedOrder, market: Market) -> Transition:
    """Builds and signs a transaction; committing the move records it, before anything is sent."""
    return claimed.submitted(await new_intent(claimed, market))


async def settle(claimed: ClaimedOrder, market: Market) -> Transition:
    """Sends the recorded transaction and waits for its outcome; raises IntentExpired on an expiry."""
    if claimed.intent is None:
        raise IllegalTransition("an order without an intent cannot settle")
    outcome = await _outcome(claimed.intent, market)
    match outcome:
        case Fill():
            return claimed.confirmed(outcome)
        case Rejection():
            failure = SlippageExceeded if outcome.slippage_exceeded else VenueRejected
            return claimed.failed(failure(outcome.reason))
        case Expiry():
            raise IntentExpired("the transaction expired without landing")
        case _:
            assert_never(outcome)


Step = Callable[[ClaimedOrder, Market], Awaitable[Transition]]

STEPS: Mapping[OrderStatus, Step] = MappingProxyType(
    {
        OrderStatus.PENDING: start,
        OrderStatus.ROUTING: route,
        OrderStatus.BUILDING: build,
        OrderStatus.SUBMITTED: settle,
    }
)


async def new_intent(claimed: ClaimedOrder, market: Market) -> Intent:
    """A new signed transaction for the order's quote, or for a new quote when that has expired.

    Raises AmountTooSmall when the least that may land is zero.
    """
    order, quote = claimed.order, claimed.quote
    if quote is None or quote.expires_at <= market.now():
        quotes = await _quotes(order, market)
        quote = best_quote(quotes, client_minimum=order.min_amount_out, now=market.now())
    minimum = quote.min_amount_out(
        slippage_percent=order.slippage_tolerance, client_minimum=order.min_amount_out
    )
    if minimum == 0:
        raise AmountTooSmall(
            f"the swap of {order.amount_in:f} might pay nothing at an effective price of"
            f" {quote.effective_price:f}"
        )
    transaction = await market.venues[quote.venue].build(order, quote, min_amount_out=minimum)
    return Intent(
        n=claimed.intents + 1,
        venue=quote.venue,
        transaction=transaction,
        quote={**quote_payload(quote), "minAmountOut": amount_text(minimum)},
    )


async def _quotes(order: NewOrder, market: Market) -> list[Quote]:
    """The quotes of the venues that answer in time; raises VenueUnavailable when none does."""
    answers = await asyncio.gather(
        *(_quote(venue, order, market) for venue in market.venues.values()), return_exceptions=True
    )
    quotes = [answer for answer in answers if isinstance(answer, Quote)]
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    for error in errors:
        if not isinstance(error, VenueUnavailable):
            raise error
    if not quotes:
        raise VenueUnavailable("; ".join(str(error) for error in errors))
    return quotes


async def _quote(venue: Venue, order: NewOrder, market: Market) -> Quote:
    with metrics.QUOTE_SECONDS.labels(venue=venue.name).time():
        try:
            async with asyncio.timeout(market.quote_timeout_s):
                return await venue.quote(order, now=market.now())
        except (TimeoutError, VenueUnavailable) as error:
            metrics.VENUE_ERRORS.labels(venue=venue.name, call="quote").inc()
            raise VenueUnavailable(f"{venue.name}: {str(error) or 'no quote in time'}") from error


async def _outcome(intent: Intent, market: Market) -> Outcome:
    """Sends the transaction and waits for its outcome.

    Raises VenueUnavailable when the send fails, or several questions for the outcome in a row.
    """
    venue = market.venues[intent.venue]
    try:
        await venue.send(intent.transaction)
    except VenueUnavailable:
        metrics.VENUE_ERRORS.labels(venue=venue.name, call="settle").inc()
        raise
    return await market.outcomes[intent.venue].of(intent.transaction)
