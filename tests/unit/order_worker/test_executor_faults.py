"""An executor whose order is claimed by another, whose store fails, or that is stopped.

Whatever happens, a later claim executes the order to one fill, of the first transaction sent.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import psycopg2
import pytest

from order_engine.execution.domain.errors import Overloaded, StoreUnavailable
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Expiry
from support.builders import ORDER_ID
from support.memory_orders import Fault
from support.scripted_venue import DOWN, HANGS, Script, a_venue
from support.worker import BUILDING, HAPPY_PATH, PENDING, ROUTING, SUBMITTED, Worker

NOT_FINAL = [PENDING, ROUTING, BUILDING, SUBMITTED]
STORE_ERRORS = [
    StoreUnavailable("no answer"),
    Overloaded("the backlog is full"),
    psycopg2.errors.CheckViolation("a refused write"),
]


def filled_once(worker: Worker) -> bool:
    """Filled, with no gap in its events and no two transactions that may both land."""
    seqs = [event.seq for event in worker.row.events]
    return (
        worker.statuses == HAPPY_PATH
        and seqs == [1, 2, 3, 4, 5]
        and worker.row.intent_states.count("landed") == 1
        and "live" not in worker.row.intent_states
    )


# Fenced by a later claim


def an_old_claim(worker: Worker) -> ClaimedOrder:
    """A claim whose lease has expired, and that another claim has fenced."""
    old = worker.claim()
    worker.clock.advance(11)
    worker.claim()
    return old


@pytest.mark.parametrize("status", NOT_FINAL)
def test_a_fenced_executor_changes_nothing(status: OrderStatus) -> None:
    worker = Worker(a_venue())
    worker.place(at=status)
    old = an_old_claim(worker)
    before = (worker.row.order, worker.row.epoch, list(worker.row.events), worker.row.intent_states)

    worker.execute_claimed(old)

    after = (worker.row.order, worker.row.epoch, worker.row.events, worker.row.intent_states)
    assert after == before


@pytest.mark.parametrize("status", [ROUTING, BUILDING, SUBMITTED])
def test_a_fenced_executor_records_no_failed_attempt(status: OrderStatus) -> None:
    worker = Worker(a_venue(quotes=[DOWN], builds=[DOWN], sends=[DOWN]))
    worker.place(at=status)
    old = an_old_claim(worker)

    worker.execute_claimed(old)

    assert (worker.row.attempts, worker.row.order.attempts, worker.row.owned) == ([], 0, True)


def test_a_fenced_executor_sends_no_second_transaction() -> None:
    venue = a_venue(outcomes=[Expiry()])
    worker = Worker(venue)
    worker.place(at=SUBMITTED)
    worker.execute()
    worker.clock.advance(60)
    old = an_old_claim(worker)

    worker.execute_claimed(old)

    assert len(venue.sent) == 1
    assert worker.row.intent_states == ["dead"]


@pytest.mark.parametrize("status", [PENDING, ROUTING, BUILDING])
def test_a_cancelled_order_is_sent_to_no_venue(status: OrderStatus) -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=status)
    claimed = worker.claim()
    asyncio.run(worker.orders.cancel(ORDER_ID))

    worker.execute_claimed(claimed)

    assert worker.row.order.error_code == "cancelled"
    assert (venue.sent, worker.row.intents) == ([], [])


def test_a_worker_that_wakes_up_after_the_order_was_filled_finds_the_same_fill() -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=SUBMITTED)
    asleep = worker.claim()
    worker.execute_later()

    worker.execute_claimed(asleep)

    assert filled_once(worker)
    assert len(set(venue.sent)) == 1


# PostgreSQL fails at a write


@pytest.mark.parametrize("committed", [False, True], ids=["lost", "committed"])
@pytest.mark.parametrize("error", STORE_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("status", NOT_FINAL)
def test_an_order_whose_move_fails_is_left_to_a_later_claim(
    status: OrderStatus, error: Exception, committed: bool
) -> None:
    venue = a_venue()
    worker = Worker(venue)
    worker.place(at=status)
    worker.orders.faults["move"] = Fault(error=error, committed=committed)

    worker.execute()

    worker.execute_later()
    assert filled_once(worker)
    assert len(set(venue.sent)) == 1


@pytest.mark.parametrize("committed", [False, True], ids=["lost", "committed"])
@pytest.mark.parametrize("error", STORE_ERRORS, ids=lambda error: type(error).__name__)
def test_an_order_whose_second_intent_fails_to_be_recorded_is_left_to_a_later_claim(
    error: Exception, committed: bool
) -> None:
    venue = a_venue(outcomes=[Expiry(), *a_venue().landings])
    worker = Worker(venue)
    worker.place(at=SUBMITTED)
    worker.execute()
    worker.orders.faults["record_intent"] = Fault(error=error, committed=committed)

    worker.execute_later()
    assert len(venue.sent) == 1

    worker.execute_later()
    assert filled_once(worker)
    assert len(venue.sent) == 2


@pytest.mark.parametrize("committed", [False, True], ids=["lost", "committed"])
@pytest.mark.parametrize(
    ("status", "script"),
    [
        (ROUTING, {"quotes": [DOWN, *a_venue().quotes]}),
        (BUILDING, {"builds": [DOWN, None]}),
        (SUBMITTED, {"sends": [DOWN, None]}),
        (SUBMITTED, {"outcomes": [Expiry(), *a_venue().landings]}),
    ],
)
def test_an_order_whose_failed_attempt_is_not_recorded_is_left_to_a_later_claim(
    status: OrderStatus, script: Script, committed: bool
) -> None:
    worker = Worker(a_venue(**script))
    worker.place(at=status)
    error = StoreUnavailable("no answer")
    worker.orders.faults["record_failed_attempt"] = Fault(error=error, committed=committed)

    worker.execute()
    worker.execute_later()

    if not filled_once(worker):  # the dead intent was still live: its expiry is recorded now
        worker.execute_later()
    assert filled_once(worker)


@pytest.mark.parametrize("committed", [False, True], ids=["lost", "committed"])
def test_a_job_fails_when_its_claim_may_or_may_not_have_been_made(committed: bool) -> None:
    worker = Worker(a_venue())
    worker.place()
    error = StoreUnavailable("no answer")
    worker.orders.faults["claim"] = Fault(error=error, committed=committed)

    with pytest.raises(StoreUnavailable):
        worker.execute()

    worker.execute_later()
    assert filled_once(worker)


# The process stops

STOPPED_AT: list[tuple[OrderStatus, Script]] = [
    (ROUTING, {"quotes": [HANGS, *a_venue().quotes]}),
    (BUILDING, {"builds": [HANGS, None]}),
    (SUBMITTED, {"sends": [HANGS, None]}),
    (SUBMITTED, {"outcomes": [HANGS, *a_venue().landings]}),
    (SUBMITTED, {"outcomes": [None, HANGS, *a_venue().landings]}),
]


def stopped(worker: Worker, *, when: Callable[[], bool]) -> None:
    """Executes the order until `when`, and then cancels the executor as a drain does."""

    async def work() -> None:
        executing = asyncio.create_task(worker.executor.execute(str(ORDER_ID)))
        async with asyncio.timeout(5):
            while not when():
                await asyncio.sleep(0)
        for gate in worker.gates:
            asyncio.get_running_loop().call_soon(gate.set)
        executing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await executing

    asyncio.run(work())


@pytest.mark.parametrize(("status", "script"), STOPPED_AT)
def test_an_order_in_hand_is_released_when_the_process_stops(
    status: OrderStatus, script: Script
) -> None:
    venue = a_venue(**script)
    worker = Worker(venue, quote_timeout_s=60)
    worker.place(at=status)

    stopped(worker, when=lambda: venue.is_hanging)

    assert (worker.row.order.status, worker.row.order.claims) == (status, 0)
    assert (worker.row.owned, worker.held) == (False, [])

    worker.execute()
    assert filled_once(worker)
    assert len(set(venue.sent)) == 1


def test_an_order_that_cannot_be_released_is_left_to_its_lease() -> None:
    venue = a_venue(outcomes=[HANGS, *a_venue().landings])
    worker = Worker(venue)
    worker.place()
    worker.orders.faults["release"] = Fault(error=StoreUnavailable("no answer"))

    stopped(worker, when=lambda: venue.is_hanging)
    worker.execute()
    assert worker.row.order.status is SUBMITTED

    worker.execute_later()
    assert filled_once(worker)


def test_a_claim_that_the_process_stops_in_is_released() -> None:
    """Otherwise it would count as a claim without a move."""
    worker = Worker(a_venue())
    worker.place()
    worker.hold("claim")

    stopped(worker, when=lambda: worker.row.owned)

    assert (worker.row.order.claims, worker.row.owned) == (0, False)


# The lease


@pytest.mark.parametrize(
    "script", [{}, {"quotes": [DOWN]}, {"quotes": [HANGS]}, {"outcomes": [Expiry()]}]
)
def test_a_lease_is_renewed_no_longer_than_its_order_is_executed(script: Script) -> None:
    worker = Worker(a_venue(**script))
    worker.place()

    with suppress(StoreUnavailable):
        worker.execute()

    assert worker.held_before == [ORDER_ID]
    assert worker.held == []
