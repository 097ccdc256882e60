"""What is done with an order at each status, as a table: one step makes one move.

A step commits before the next begins, so an order can be taken over between any two of them. The
transaction is recorded before it is first sent (`building`), and a claimer that finds a recorded
one sends those bytes and builds no other until the venue has ruled them dead (`submitted`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar, assert_never

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import (
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
    Transaction,
)
from order_engine.execution.domain.venue import Venue

QUESTIONS_FAILED_MAX = 5

Answer = TypeVar("Answer")

log = structlog.get_logger()


class IntentDied(VenueUnavailable):
    """The recorded transaction never lands: the venue has committed its expiry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The venues and the patience with which they are asked."""

    venues: Mapping[VenueName, Venue]
    quote_timeout_s: float
    poll_s: float
    now: Callable[[], datetime]


async def start(claimed: ClaimedOrder, market: Market) -> Transition:
    return claimed.started()


async def route(claimed: ClaimedOrder, market: Market) -> Transition:
    """Asks all venues at once and chooses; the decision goes into the event with every quote."""
    quotes = await _quotes(claimed.order, market)
    chosen = best_quote(quotes, client_minimum=claimed.order.min_amount_out, now=market.now())
    metrics.ROUTES_WON.labels(venue=chosen.venue).inc()
    log.info(
        "route chosen", venue=chosen.venue, quotes={q.venue: str(q.effective_price) for q in quotes}
    )
    return claimed.routed(chosen, quotes)


async def build(claimed: ClaimedOrder, market: Market) -> Transition:
    """Builds and signs; the move records the intent, before anything is sent."""
    return claimed.submitted(await new_intent(claimed, market))


async def settle(claimed: ClaimedOrder, market: Market) -> Transition:
    """Sends the recorded bytes and waits for the venue's word; raises IntentDied on an expiry."""
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
            raise IntentDied("the transaction expired without landing")
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
    """A fresh, signed transaction for the order's quote, or for a new one when that has expired."""
    order, quote = claimed.order, claimed.quote
    if quote is None or quote.expires_at <= market.now():
        quotes = await _quotes(order, market)
        quote = best_quote(quotes, client_minimum=order.min_amount_out, now=market.now())
    minimum = quote.min_amount_out(
        slippage_percent=order.slippage_tolerance, client_minimum=order.min_amount_out
    )
    transaction = await market.venues[quote.venue].build(order, quote, min_amount_out=minimum)
    return Intent(
        n=claimed.intents + 1,
        venue=quote.venue,
        transaction=transaction,
        quote={**quote_payload(quote), "minAmountOut": amount_text(minimum)},
    )


async def _quotes(order: NewOrder, market: Market) -> list[Quote]:
    """What the venues that answer in time offer; raises VenueUnavailable when none does."""
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
            raise VenueUnavailable(f"{venue.name}: {error or 'no quote in time'}") from error


async def _outcome(intent: Intent, market: Market) -> Outcome:
    """Hands the bytes over and asks until the venue gives its final word.

    A question that fails is asked again; only several in a row give the order back.
    """
    venue, transaction = market.venues[intent.venue], intent.transaction
    failed_in_a_row = 0
    await _counted(venue.send(transaction), venue)
    while True:
        try:
            outcome = await _counted(_word(venue, transaction, now=market.now()), venue)
            failed_in_a_row = 0
        except VenueUnavailable:
            outcome = None
            failed_in_a_row += 1
            if failed_in_a_row >= QUESTIONS_FAILED_MAX:
                raise
        if outcome is not None:
            return outcome
        await asyncio.sleep(market.poll_s)


async def _word(venue: Venue, transaction: Transaction, *, now: datetime) -> Outcome | None:
    """What became of a transaction; one that is overdue is asked to be ruled dead."""
    outcome = await venue.outcome(transaction.signature)
    if outcome is None and now >= transaction.valid_until:
        return await venue.expire(transaction)
    return outcome


async def _counted(call: Awaitable[Answer], venue: Venue) -> Answer:
    try:
        return await call
    except VenueUnavailable:
        metrics.VENUE_ERRORS.labels(venue=venue.name, call="settle").inc()
        raise
