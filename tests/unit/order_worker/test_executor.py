"""An order from its claim to its end, at every status and with every answer of its venue."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Expiry, Rejection
from support.builders import NOON, a_fill, a_quote
from support.memory_orders import Fault
from support.scripted_venue import Script, a_venue
from support.worker import (
    BUILDING,
    CONFIRMED,
    FAILED,
    HAPPY_PATH,
    PENDING,
    ROUTING,
    SUBMITTED,
    Worker,
)

LIVE = a_quote(expires_at=NOON + timedelta(days=1))
EXPIRED = a_quote(expires_at=NOON)
LANDED = a_fill()
SLIPPED = Rejection(reason="paid too little", slippage_exceeded=True)
REJECTED = Rejection(reason="account frozen", slippage_exceeded=False)
NOT_FINAL = [PENDING, ROUTING, BUILDING, SUBMITTED]


# The way to a fill


def test_an_order_is_executed_to_its_fill() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place()

    worker.execute()

    assert worker.statuses == HAPPY_PATH
    assert venue.calls == ["quote", "build", "send", "outcome"]
    assert worker.row.order.tx_hash == "raydium-1"
    assert worker.row.intent_states == ["landed"]


def test_the_intent_is_recorded_before_it_is_sent() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=BUILDING)
    worker.orders.faults["move"] = Fault(error=StoreUnavailable("lost"))

    worker.execute()

    assert venue.calls == ["quote", "build"]
    assert worker.row.intents == []


@pytest.mark.parametrize("status", NOT_FINAL)
def test_an_order_continues_from_the_status_where_an_earlier_claim_left_it(
    status: OrderStatus,
) -> None:
    worker = Worker(a_venue())
    worker.place(at=status)

    worker.execute()

    assert worker.statuses == HAPPY_PATH


def test_a_recorded_intent_is_sent_again_and_no_other_is_built() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=SUBMITTED)
    [recorded] = worker.row.intents

    worker.execute()

    assert venue.calls == ["send", "outcome"]
    assert venue.sent == [recorded.intent.transaction]
    assert worker.row.order.tx_hash == recorded.intent.transaction.signature


def test_an_order_that_is_leased_is_left_alone() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place()
    worker.claim()

    worker.execute()

    assert (worker.statuses, venue.calls) == ([PENDING], [])


def test_an_order_that_has_ended_is_left_alone() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=CONFIRMED)

    worker.execute_later()

    assert venue.calls == []


def test_an_unknown_order_is_left_alone() -> None:
    Worker(a_venue()).execute()


# The ways to a failure


@pytest.mark.parametrize("status", [PENDING, ROUTING])
@pytest.mark.parametrize(
    ("venue", "minimum", "code"),
    [
        ({"quotes": [EXPIRED]}, None, "no_live_quote"),
        ({}, Decimal(200), "min_amount_out_unreachable"),
        ({"outcomes": [SLIPPED]}, None, "slippage_exceeded"),
        ({"outcomes": [None, REJECTED]}, None, "venue_rejected"),
    ],
)
def test_an_order_that_cannot_be_filled_fails_with_a_stable_code(
    status: OrderStatus, venue: Script, minimum: Decimal | None, code: str
) -> None:
    worker = Worker(a_venue(**venue))
    worker.place(at=status, min_amount_out=minimum)

    worker.execute()

    assert worker.row.order.status is FAILED
    assert worker.row.order.error_code == code
    assert worker.row.events[-1].payload["errorCode"] == code
    assert set(worker.row.intent_states) <= {"dead"}
    assert worker.row.leased_until is None


# Orders that end their workers


def claimed_too_often(worker: Worker, *, claims: int) -> None:
    worker.row.order = replace(worker.row.order, claims=claims)


@pytest.mark.parametrize("status", [PENDING, ROUTING, BUILDING])
def test_an_order_that_is_claimed_too_often_without_a_move_fails(status: OrderStatus) -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=status)
    claimed_too_often(worker, claims=20)

    worker.execute()

    assert worker.row.order.status is FAILED
    assert worker.row.order.error_code == "internal_error"
    assert worker.row.order.error_reason == "claimed 21 times without a move"
    assert venue.calls == []


@pytest.mark.parametrize("status", NOT_FINAL)
def test_the_twentieth_claim_still_executes_the_order(status: OrderStatus) -> None:
    worker = Worker(a_venue())
    worker.place(at=status)
    claimed_too_often(worker, claims=19)

    worker.execute()

    assert worker.row.order.status is CONFIRMED


def test_an_order_with_a_live_intent_continues_after_any_number_of_claims() -> None:
    worker = Worker(a_venue())
    worker.place(at=SUBMITTED)
    claimed_too_often(worker, claims=1_000)

    worker.execute()

    assert worker.row.order.status is CONFIRMED


def test_an_order_whose_intents_are_all_dead_fails_when_it_is_claimed_too_often() -> None:
    worker = Worker(a_venue(outcomes=[Expiry()]))
    worker.place(at=SUBMITTED)
    worker.execute()
    claimed_too_often(worker, claims=20)

    worker.execute_later()

    assert worker.row.order.error_code == "internal_error"
    assert worker.row.intent_states == ["dead"]
