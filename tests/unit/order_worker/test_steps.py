"""Every answer of the venues at every step."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from order_engine.execution.domain.errors import (
    AmountTooSmall,
    IllegalTransition,
    MinAmountOutUnreachable,
    NoLiveQuote,
    OrderFailed,
    SlippageExceeded,
    VenueRejected,
    VenueUnavailable,
)
from order_engine.execution.domain.order import ClaimedOrder, Transition
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.domain.transaction import Expiry, Outcome, Rejection
from order_engine.order_worker.outcomes import FAILED_POLLS_MAX
from order_engine.order_worker.steps import STEPS, IntentExpired, Market
from support.builders import (
    NOON,
    RAYDIUM,
    a_claimed_order,
    a_fill,
    a_quote,
    a_transaction,
    an_intent,
)
from support.clock import Clock
from support.scripted_venue import DOWN, HANGS, Hangs, ScriptedVenue, a_venue
from support.worker import BUILDING, CONFIRMED, FAILED, PENDING, ROUTING, SUBMITTED, a_market

METEORA = VenueName("meteora")
LOW, HIGH = a_quote(venue=RAYDIUM), a_quote(venue=METEORA, price=Decimal("1.6"))
EXPIRED = a_quote(venue=METEORA, price=Decimal(9), expires_at=NOON)
BROKEN = ValueError("a bug in the venue's code")

SLIPPED = Rejection(reason="paid too little", slippage_exceeded=True)
REJECTED = Rejection(reason="account frozen", slippage_exceeded=False)
LANDED = a_fill()

Answer = Quote | Exception | Hangs


def step(claimed: ClaimedOrder, market: Market) -> Transition:
    async def work() -> Transition:
        return await STEPS[claimed.order.status](claimed, market)

    return asyncio.run(work())


def two_venues(raydium: Answer, meteora: Answer) -> Market:
    return a_market(
        ScriptedVenue(RAYDIUM, quotes=[raydium]), ScriptedVenue(METEORA, quotes=[meteora])
    )


def test_every_status_that_is_not_final_has_its_step() -> None:
    assert set(STEPS) == set(OrderStatus) - FINAL


def test_a_started_order_is_routed_next() -> None:
    assert step(a_claimed_order(status=PENDING), a_market()).target is ROUTING


# Routing


@pytest.mark.parametrize(
    ("raydium", "meteora", "chosen", "compared"),
    [
        (LOW, HIGH, HIGH, [LOW, HIGH]),
        (LOW, HANGS, LOW, [LOW]),
        (LOW, DOWN, LOW, [LOW]),
        (LOW, EXPIRED, LOW, [LOW, EXPIRED]),
        (DOWN, HIGH, HIGH, [HIGH]),
    ],
)
def test_the_route_is_the_best_live_quote_of_the_venues_that_answer(
    raydium: Answer, meteora: Answer, chosen: Quote, compared: Sequence[Quote]
) -> None:
    claimed = a_claimed_order(status=ROUTING)

    assert step(claimed, two_venues(raydium, meteora)) == claimed.routed(chosen, compared)


@pytest.mark.parametrize(
    ("raydium", "meteora", "error", "text"),
    [
        (DOWN, DOWN, VenueUnavailable, "raydium: the venue is down; meteora: the venue is down"),
        (HANGS, DOWN, VenueUnavailable, "raydium: no quote in time; meteora: the venue is down"),
        (HANGS, HANGS, VenueUnavailable, "raydium: no quote in time; meteora: no quote in time"),
        (EXPIRED, EXPIRED, NoLiveQuote, "no venue has a live quote"),
        (LOW, BROKEN, ValueError, "a bug in the venue's code"),
    ],
)
def test_without_a_live_quote_there_is_no_route(
    raydium: Answer, meteora: Answer, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        step(a_claimed_order(status=ROUTING), two_venues(raydium, meteora))


def test_no_route_leads_below_the_clients_minimum() -> None:
    claimed = a_claimed_order(status=ROUTING, min_amount_out=Decimal(200))

    with pytest.raises(MinAmountOutUnreachable):
        step(claimed, two_venues(LOW, HIGH))


# Building


def test_a_transaction_is_built_for_the_quote_that_the_route_was_chosen_by() -> None:
    venue = a_venue(quotes=[DOWN])
    claimed = a_claimed_order(status=BUILDING, quote=LOW)

    move = step(claimed, a_market(venue))

    assert move.intent is not None
    assert move == claimed.submitted(move.intent)
    assert (move.intent.n, move.intent.venue) == (1, RAYDIUM)
    assert venue.calls == ["build"]


@pytest.mark.parametrize("remembered", [None, a_quote(expires_at=NOON)])
def test_a_new_quote_is_requested_when_the_route_is_unknown_or_expired(
    remembered: Quote | None,
) -> None:
    raydium = ScriptedVenue(RAYDIUM, quotes=[LOW])
    meteora = ScriptedVenue(METEORA, quotes=[HIGH])

    move = step(
        a_claimed_order(status=BUILDING, quote=remembered, venue=RAYDIUM),
        a_market(raydium, meteora),
    )

    assert move.intent is not None
    assert move.intent.venue == METEORA
    assert (raydium.calls, meteora.calls) == (["quote"], ["quote", "build"])


@pytest.mark.parametrize(
    ("slippage", "client_minimum", "minimum"),
    [("0.5", None, "148.876875"), ("0", None, "149.625"), ("0.5", "149", "149")],
)
def test_the_venue_gets_the_least_amount_that_the_client_accepts(
    slippage: str, client_minimum: str | None, minimum: str
) -> None:
    venue = a_venue()
    claimed = a_claimed_order(
        status=BUILDING,
        quote=LOW,
        slippage_tolerance=Decimal(slippage),
        min_amount_out=client_minimum and Decimal(client_minimum),
    )

    move = step(claimed, a_market(venue))

    assert venue.built == [(LOW, Decimal(minimum))]
    assert move.intent is not None
    assert Decimal(move.intent.quote["minAmountOut"]) == Decimal(minimum)


VANISHING: Sequence[tuple[str, str, str]] = [  # amount, price after fees, slippage in percent
    ("0.000000000000000001", "0.5", "0.5"),
    ("0.000000000000000001", "0.5", "100"),
    ("0.000000000000000001", "1", "0.5"),  # a unit less the slippage
    ("0.000000000000000001", "1.9", "50"),
    ("0.000000000000000099", "0.01", "0"),
    ("0.00000000001", "0.00000001", "0"),
    ("100", "0.000000001", "0"),  # prices have eight decimals
]
LEFT: Sequence[tuple[str, str, str, str]] = [  # and the least that may land
    ("0.000000000000000001", "1", "0", "0.000000000000000001"),
    ("0.000000000000000001", "2", "50", "0.000000000000000001"),
    ("0.0000000001", "0.00000001", "0", "0.000000000000000001"),
    ("100", "1.5", "100", "0.000000000000000001"),
]


def a_small_order(amount: str, price: str, slippage: str) -> ClaimedOrder:
    return a_claimed_order(
        status=BUILDING,
        amount_in=Decimal(amount),
        slippage_tolerance=Decimal(slippage),
        quote=a_quote(amount_in=Decimal(amount), price=Decimal(price), fee_rate=Decimal(0)),
    )


@pytest.mark.parametrize(("amount", "price", "slippage"), VANISHING)
def test_an_order_that_might_be_paid_nothing_fails_before_anything_is_built(
    amount: str, price: str, slippage: str
) -> None:
    venue = a_venue()

    with pytest.raises(AmountTooSmall, match="might pay nothing"):
        step(a_small_order(amount, price, slippage), a_market(venue))

    assert venue.calls == []


@pytest.mark.parametrize(("amount", "price", "slippage", "least"), LEFT)
def test_the_smallest_payment_is_one_unit(
    amount: str, price: str, slippage: str, least: str
) -> None:
    venue = a_venue()
    step(a_small_order(amount, price, slippage), a_market(venue))
    [(_, minimum)] = venue.built

    assert minimum == Decimal(least)


@pytest.mark.parametrize(
    ("venue", "error"),
    [
        (a_venue(builds=[DOWN]), VenueUnavailable),
        (a_venue(quotes=[DOWN]), VenueUnavailable),
        (a_venue(quotes=[EXPIRED]), NoLiveQuote),
    ],
)
def test_nothing_is_sent_when_no_transaction_was_built(
    venue: ScriptedVenue, error: type[Exception]
) -> None:
    with pytest.raises(error):
        step(a_claimed_order(status=BUILDING), a_market(venue))

    assert venue.sent == []


# Settling

IN_HAND = an_intent(n=2, transaction=a_transaction(valid_until=NOON + timedelta(seconds=30)))
SUBMITTED_ORDER = a_claimed_order(status=SUBMITTED, intent=IN_HAND)
BARELY_ANSWERS = [DOWN] * (FAILED_POLLS_MAX - 1)


@pytest.mark.parametrize(
    "outcomes",
    [
        [LANDED],
        [None, None, None, LANDED],
        [*BARELY_ANSWERS, LANDED],
        [*BARELY_ANSWERS, None, *BARELY_ANSWERS, LANDED],
    ],
)
def test_a_fill_confirms_the_order(outcomes: Sequence[Outcome | Exception | None]) -> None:
    venue = a_venue(outcomes=outcomes)

    assert step(SUBMITTED_ORDER, a_market(venue)) == SUBMITTED_ORDER.confirmed(LANDED)
    assert venue.sent == [IN_HAND.transaction]
    assert venue.calls == ["send", *["outcome"] * len(outcomes)]


@pytest.mark.parametrize(
    ("rejection", "failure"), [(SLIPPED, SlippageExceeded), (REJECTED, VenueRejected)]
)
def test_a_rejection_fails_the_order_with_its_reason(
    rejection: Rejection, failure: type[OrderFailed]
) -> None:
    venue = a_venue(outcomes=[None, rejection])

    move = step(SUBMITTED_ORDER, a_market(venue))

    assert (move.target, move.settles) == (FAILED, 2)
    assert move.payload == {"errorCode": failure.code, "errorReason": rejection.reason}


def test_an_expiry_sends_the_order_back_for_another_transaction() -> None:
    venue = a_venue(outcomes=[None, Expiry()])

    with pytest.raises(IntentExpired):
        step(SUBMITTED_ORDER, a_market(venue))


def test_no_outcome_is_requested_when_the_send_fails() -> None:
    venue = a_venue(sends=[DOWN])

    with pytest.raises(VenueUnavailable):
        step(SUBMITTED_ORDER, a_market(venue))

    assert venue.calls == ["send"]


def test_a_venue_that_fails_poll_after_poll_is_given_up_for_now() -> None:
    venue = a_venue(outcomes=[DOWN])

    with pytest.raises(VenueUnavailable):
        step(SUBMITTED_ORDER, a_market(venue))

    assert venue.calls == ["send", *["outcome"] * FAILED_POLLS_MAX]


@pytest.mark.parametrize(
    ("outcomes", "expiries", "target"),
    [
        ([None], [LANDED], CONFIRMED),
        ([None], [None, None, LANDED], CONFIRMED),
        ([None, LANDED], [None], CONFIRMED),
        ([None], [*BARELY_ANSWERS, LANDED], CONFIRMED),
        ([None], [REJECTED], FAILED),
        ([None], [Expiry()], IntentExpired),
        ([None], [DOWN], VenueUnavailable),
    ],
)
def test_an_overdue_transaction_is_expired_by_the_venue_or_has_an_outcome(
    outcomes: Sequence[Outcome | None],
    expiries: Sequence[Outcome | Exception | None],
    target: OrderStatus | type[Exception],
) -> None:
    clock = Clock()
    clock.advance(30)
    venue = a_venue(outcomes=outcomes, expiries=expiries)
    market = a_market(venue, clock=clock)

    if isinstance(target, OrderStatus):
        assert step(SUBMITTED_ORDER, market).target is target
    else:
        with pytest.raises(target):
            step(SUBMITTED_ORDER, market)


def test_a_transaction_that_may_still_land_is_not_expired() -> None:
    clock = Clock()
    clock.advance(29.999)
    venue = a_venue(outcomes=[None, None, LANDED])

    step(SUBMITTED_ORDER, a_market(venue, clock=clock))

    assert "expire" not in venue.calls


def test_the_transaction_is_sent_to_the_venue_that_it_was_built_for() -> None:
    raydium, meteora = ScriptedVenue(RAYDIUM, quotes=[LOW]), ScriptedVenue(METEORA, quotes=[HIGH])
    intent = an_intent(venue=METEORA)

    step(a_claimed_order(status=SUBMITTED, intent=intent), a_market(raydium, meteora))

    assert (raydium.sent, meteora.sent) == ([], [intent.transaction])


def test_an_order_without_an_intent_cannot_settle() -> None:
    with pytest.raises(IllegalTransition):
        step(a_claimed_order(status=SUBMITTED), a_market())
