"""What becomes of an order when its venue fails, or its transaction expires."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Expiry
from support.builders import NOON, RAYDIUM, a_fill, a_quote
from support.memory_orders import Fault
from support.scripted_venue import DOWN, Script, a_venue
from support.worker import BUILDING, CONFIRMED, FAILED, HAPPY_PATH, ROUTING, SUBMITTED, Worker

LIVE = a_quote(expires_at=NOON + timedelta(days=1))
EXPIRED = a_quote(expires_at=NOON)
LANDED = a_fill()
WORKING: Script = {"quotes": [LIVE], "builds": [None], "sends": [None], "outcomes": [LANDED]}


# Venue failures

UNAVAILABLE_AT: Mapping[OrderStatus, Script] = {
    ROUTING: {"quotes": [DOWN]},
    BUILDING: {"builds": [DOWN]},
    SUBMITTED: {"sends": [DOWN]},
}


@pytest.mark.parametrize("status", UNAVAILABLE_AT)
def test_an_order_whose_venue_is_down_is_postponed(status: OrderStatus) -> None:
    worker = Worker(a_venue(**UNAVAILABLE_AT[status]), backoff_s=8)
    worker.place(at=status)
    events = list(worker.row.events)

    worker.execute()

    [attempt] = worker.row.attempts
    assert (worker.row.order.status, worker.row.order.attempts) == (status, 1)
    assert (attempt.attempt, attempt.step) == (1, status)
    assert attempt.error_code == "venue_unavailable"
    assert attempt.venue == (None if status is ROUTING else RAYDIUM)
    assert 4 <= attempt.delay_s <= 8
    assert (worker.row.owned, worker.row.events) == (False, events)


@pytest.mark.parametrize("status", UNAVAILABLE_AT)
def test_a_postponed_order_is_not_executed_before_it_is_due(status: OrderStatus) -> None:
    venue = a_venue(**UNAVAILABLE_AT[status])
    worker = Worker(venue, backoff_s=8)
    worker.place(at=status)
    worker.execute()
    called = list(venue.calls)

    worker.clock.advance(3.9)
    worker.execute()

    assert venue.calls == called


@pytest.mark.parametrize("status", UNAVAILABLE_AT)
def test_a_postponed_order_is_filled_once_its_venue_is_back(status: OrderStatus) -> None:
    script = {name: [*errors, *WORKING[name]] for name, errors in UNAVAILABLE_AT[status].items()}
    worker = Worker(a_venue(**script))
    worker.place(at=status)

    worker.execute()
    worker.execute_later()

    assert worker.statuses == HAPPY_PATH
    assert worker.row.intent_states == ["landed"]


@pytest.mark.parametrize("status", [ROUTING, BUILDING])
def test_an_order_without_an_intent_fails_after_its_last_attempt(status: OrderStatus) -> None:
    worker = Worker(a_venue(**UNAVAILABLE_AT[status]), attempts_max=3)
    worker.place(at=status)

    for _ in range(3):
        worker.execute_later()

    assert worker.row.order.status is FAILED
    assert worker.row.order.error_code == "venue_unavailable"
    assert [attempt.attempt for attempt in worker.row.attempts] == [1, 2]


@pytest.mark.parametrize("script", [{"sends": [DOWN]}, {"outcomes": [DOWN]}])
def test_an_order_whose_intent_may_land_is_never_failed(script: Script) -> None:
    worker = Worker(a_venue(**script), attempts_max=3)
    worker.place(at=SUBMITTED)

    for _ in range(10):
        worker.execute_later()

    assert worker.row.order.status is SUBMITTED
    assert worker.row.intent_states == ["live"]
    assert worker.row.order.attempts == 10


# Expired intents


def test_an_expired_intent_is_dead_and_the_order_is_postponed() -> None:
    worker = Worker(a_venue(outcomes=[Expiry()]))
    worker.place(at=SUBMITTED)

    worker.execute()

    [attempt] = worker.row.attempts
    assert worker.row.order.status is SUBMITTED
    assert worker.row.intent_states == ["dead"]
    assert (attempt.error_code, attempt.dead_intent) == ("intent_expired", 1)


def test_a_second_intent_is_recorded_and_sent_after_the_first_has_expired() -> None:
    venue = a_venue(outcomes=[Expiry(), LANDED])
    worker = Worker(venue)
    worker.place()

    worker.execute()
    worker.execute_later()

    assert [transaction.signature for transaction in venue.sent] == ["raydium-1", "raydium-2"]
    assert worker.row.intent_states == ["dead", "landed"]
    assert worker.row.order.tx_hash == "raydium-2"


def test_clients_see_one_submission_however_many_intents_there_were() -> None:
    worker = Worker(a_venue(outcomes=[Expiry(), Expiry(), LANDED]))
    worker.place()

    for _ in range(3):
        worker.execute_later()

    assert worker.statuses == HAPPY_PATH
    assert worker.row.intent_states == ["dead", "dead", "landed"]


def test_a_second_intent_is_not_sent_before_it_is_recorded() -> None:
    venue = a_venue(outcomes=[Expiry(), LANDED])
    worker = Worker(venue)
    worker.place(at=SUBMITTED)
    worker.execute()
    worker.orders.faults["record_intent"] = Fault(error=StoreUnavailable("lost"))

    worker.execute_later()

    assert len(venue.sent) == 1
    assert worker.row.intent_states == ["dead"]


def test_an_order_fails_when_its_last_transaction_expires() -> None:
    worker = Worker(a_venue(outcomes=[Expiry()]), attempts_max=3)
    worker.place()

    for _ in range(3):
        worker.execute_later()

    assert worker.row.order.status is FAILED
    assert worker.row.order.error_code == "venue_unavailable"
    assert worker.row.intent_states == ["dead", "dead", "dead"]


def test_failed_calls_for_a_live_intent_do_not_use_up_the_transactions() -> None:
    worker = Worker(a_venue(sends=[*[DOWN] * 5, None], outcomes=[Expiry(), LANDED]), attempts_max=2)
    worker.place(at=SUBMITTED)

    for _ in range(7):
        worker.execute_later()

    assert worker.row.order.status is CONFIRMED
    assert worker.row.intent_states == ["dead", "landed"]


@pytest.mark.parametrize(
    ("script", "minimum", "code"),
    [
        ({"quotes": [EXPIRED]}, None, "no_live_quote"),
        ({}, Decimal(200), "min_amount_out_unreachable"),
    ],
)
def test_an_order_fails_when_no_quote_is_left_for_a_second_intent(
    script: Script, minimum: Decimal | None, code: str
) -> None:
    worker = Worker(a_venue(**script, outcomes=[Expiry()]))
    worker.place(at=SUBMITTED, min_amount_out=minimum)

    worker.execute()
    worker.execute_later()

    assert (worker.row.order.status, worker.row.order.error_code) == (FAILED, code)
    assert worker.row.intent_states == ["dead"]
