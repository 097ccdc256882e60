"""The repository of orders against real PostgreSQL."""

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT, ClaimedOrder, NewOrder
from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Intent, Signature, Transaction
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.moves import FailedAttempt
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_move
from support.driven_orders import events_of
from support.evidence import rows
from support.stores import Databases, execute

S = OrderStatus


@pytest.fixture
def orders(databases: Databases) -> Iterator[Orders]:
    commits = GroupCommit(databases.orders_url, application_name="test")
    reader = Reader(databases.orders_url, application_name="test", connections_max=2)
    yield Orders(commits, reader, claimer=Claimer(name="worker-a", lease_s=10))
    commits.close()
    reader.close()


def a_new_order(**given: Any) -> NewOrder:
    return NewOrder(
        **{
            "id": OrderId(uuid.uuid4()),
            "token_in": "SOL",
            "token_out": "USDC",
            "amount_in": Decimal("1.50"),
            "slippage_tolerance": Decimal("0.5"),
            **given,
        }
    )


def an_intent(n: int = 1) -> Intent:
    return Intent(
        n=n,
        venue=VenueName("raydium"),
        transaction=Transaction(
            signature=Signature(f"0x{uuid.uuid4().hex}"),
            content=b"bytes\x00of\xffa swap",
            valid_until=datetime(2030, 1, 1, tzinfo=UTC),
        ),
        quote={"effectivePrice": "1.5"},
    )


async def advance(orders: Orders, claimed: ClaimedOrder, target: OrderStatus) -> ClaimedOrder:
    """Commits the happy path's moves until the order stands at `target`."""
    path = [S.PENDING, S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED]
    for next_ in path[path.index(claimed.order.status) + 1 : path.index(target) + 1]:
        move = a_move(claimed, next_)
        event = await orders.move(move)
        assert event is not None
        claimed = claimed.after(move, event)
    return claimed


async def a_claimed_order(orders: Orders, at: OrderStatus = S.PENDING) -> ClaimedOrder:
    placed = await orders.place(a_new_order())
    claimed = await orders.claim(placed.order_id)
    assert claimed is not None
    return await advance(orders, claimed, at)


def expire_leases(databases: Databases) -> None:
    execute(
        databases.orders_url,
        "UPDATE orders SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL",
    )


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


# Placement


def test_a_placed_order_is_committed_with_its_first_event(orders: Orders) -> None:
    async def work() -> None:
        order = a_new_order(min_amount_out=Decimal("2.000000000000000001"))
        placed = await orders.place(order)

        stored = await orders.get(order.id, account_id=LOCAL_ACCOUNT)
        assert placed.created
        assert stored is not None
        assert (stored.status, stored.seq) == (S.PENDING, 1)
        assert str(stored.amount_in) == "1.50"
        assert stored.min_amount_out == order.min_amount_out
        assert await events_of(orders, order.id) == [placed.event]
        assert (placed.event.seq, placed.event.status) == (1, S.PENDING)

    run(work())


def test_the_same_placement_again_finds_the_same_order(orders: Orders) -> None:
    async def work() -> None:
        order = a_new_order()
        first, again = await orders.place(order), await orders.place(order)

        assert first.created
        assert again.created  # a repeat after a lost reply counts as the call that created it
        assert first.event == again.event

    run(work())


def test_a_repeated_placement_returns_the_first_event_and_the_current_status(
    orders: Orders,
) -> None:
    async def work() -> None:
        order = a_new_order(idempotency_key="k", request_hash="aa")
        first = await orders.place(order)
        claimed = await orders.claim(order.id)
        assert claimed is not None
        await advance(orders, claimed, S.ROUTING)
        again = await orders.place(a_new_order(idempotency_key="k", request_hash="aa"))

        assert again.event == first.event
        assert again.status is S.ROUTING

    run(work())


def test_concurrent_placements_with_one_key_create_one_order(orders: Orders) -> None:
    async def work() -> None:
        forms = [a_new_order(idempotency_key="k", request_hash="aa") for _ in range(30)]
        placed = await asyncio.gather(*(orders.place(form) for form in forms))

        assert sum(each.created for each in placed) == 1
        assert len({each.order_id for each in placed}) == 1
        assert all(each.same_request for each in placed)

    run(work())


def test_a_key_that_is_reused_with_another_body_is_reported(orders: Orders) -> None:
    async def work() -> None:
        await orders.place(a_new_order(idempotency_key="k", request_hash="aa"))
        other = await orders.place(a_new_order(idempotency_key="k", request_hash="bb"))

        assert not other.created
        assert not other.same_request

    run(work())


def test_one_bad_order_in_a_batch_fails_alone(orders: Orders) -> None:
    async def work() -> None:
        bad = a_new_order(token_out="SOL")  # the database forbids a swap into the same token
        good = [a_new_order() for _ in range(63)]
        results = await asyncio.gather(
            *(orders.place(order) for order in [*good[:30], bad, *good[30:]]),
            return_exceptions=True,
        )

        assert isinstance(results.pop(30), psycopg2.errors.CheckViolation)
        assert all(getattr(result, "created", False) for result in results)

    run(work())


# Claims


def test_a_claimed_order_cannot_be_claimed_again(orders: Orders) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders)

        assert await orders.claim(claimed.order.id) is None
        assert await orders.claim_started(most=10) == []

    run(work())


def test_an_order_with_an_expired_lease_is_claimed_with_a_higher_epoch(
    orders: Orders, databases: Databases
) -> None:
    async def work() -> None:
        first = await a_claimed_order(orders, at=S.ROUTING)
        expire_leases(databases)
        [second] = await orders.claim_started(most=10)

        assert second.order.id == first.order.id
        assert second.epoch == first.epoch + 1
        assert second.order.status is S.ROUTING

    run(work())


def test_a_final_order_cannot_be_claimed(orders: Orders) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.CONFIRMED)

        assert await orders.claim(claimed.order.id) is None

    run(work())


def test_waiting_orders_are_claimed_oldest_first_up_to_the_watermark(
    orders: Orders,
) -> None:
    async def work() -> None:
        first = await orders.place(a_new_order())
        second = await orders.place(a_new_order())
        third = await orders.place(a_new_order())
        later = third.event.occurred_at

        assert await orders.count_waiting(before=later, lag_s=0, most=10) == 2
        claimed = await orders.claim_waiting(before=later, lag_s=0, most=1)
        assert [each.order.id for each in claimed] == [first.order_id]
        claimed = await orders.claim_waiting(before=later, lag_s=0, most=10)
        assert [each.order.id for each in claimed] == [second.order_id]
        assert await orders.claim_waiting(before=None, lag_s=60, most=10) == []
        [last] = await orders.claim_waiting(before=None, lag_s=0, most=10)
        assert last.order.id == third.order_id

    run(work())


def test_a_released_order_can_be_claimed_at_once_and_the_claim_is_not_counted(
    orders: Orders,
) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.ROUTING)
        assert await orders.release(claimed)
        [again] = await orders.claim_started(most=1)

        assert again.order.id == claimed.order.id
        assert again.order.claims == 1

    run(work())


def test_a_claim_of_a_submitted_order_returns_the_recorded_transaction(
    orders: Orders, databases: Databases
) -> None:
    async def work() -> None:
        first = await a_claimed_order(orders, at=S.SUBMITTED)
        expire_leases(databases)
        [second] = await orders.claim_started(most=1)

        assert first.intent is not None
        assert second.intent == first.intent
        assert second.intents == 1

    run(work())


# Moves


def test_a_fenced_claimer_moves_nothing(orders: Orders, databases: Databases) -> None:
    async def work() -> None:
        paused = await a_claimed_order(orders, at=S.BUILDING)
        expire_leases(databases)
        [current] = await orders.claim_started(most=1)

        assert await orders.move(a_move(paused, S.SUBMITTED)) is None
        assert await orders.move(a_move(paused, S.FAILED)) is None
        assert not await orders.record_failed_attempt(a_failed_attempt(paused))
        assert not await orders.release(paused)
        assert rows(databases.orders_url, "SELECT * FROM execution_intents") == []
        await advance(orders, current, S.CONFIRMED)

    run(work())


def test_a_repeated_move_returns_its_own_event_and_moves_once(orders: Orders) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.BUILDING)
        move = a_move(claimed, S.SUBMITTED)
        first, again = await orders.move(move), await orders.move(move)

        assert first == again is not None
        assert [event.seq for event in await events_of(orders, claimed.order.id)] == [1, 2, 3, 4]

    run(work())


@pytest.mark.parametrize("end", [S.CONFIRMED, S.FAILED])
def test_a_final_move_settles_the_intent_and_clears_the_lease(
    orders: Orders, databases: Databases, end: OrderStatus
) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.SUBMITTED)
        await orders.move(a_move(claimed, end))

    run(work())
    [intent] = rows(databases.orders_url, "SELECT state FROM execution_intents")
    [order] = rows(databases.orders_url, "SELECT status, lease_until FROM orders")

    assert intent["state"] == ("landed" if end is S.CONFIRMED else "dead")
    assert order == {"status": end, "lease_until": None}


def test_a_second_live_intent_is_refused_by_the_database(orders: Orders) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.SUBMITTED)

        with pytest.raises(psycopg2.errors.UniqueViolation):
            await orders.record_intent(claimed, an_intent(n=2))

    run(work())


def test_after_an_intent_died_another_is_recorded_and_a_repeat_finds_it(orders: Orders) -> None:
    async def work() -> None:
        first = await a_claimed_order(orders, at=S.SUBMITTED)
        assert await orders.record_failed_attempt(a_failed_attempt(first, dead_intent=1))
        [second] = await orders.claim_started(most=1)
        assert second.intent is None
        assert second.intents == 1
        intent = an_intent(n=2)

        assert await orders.record_intent(second, intent)
        assert await orders.record_intent(second, intent)
        await orders.move(a_move(second.holding(intent), S.CONFIRMED))
        assert [event.seq for event in await events_of(orders, first.order.id)] == [1, 2, 3, 4, 5]

    run(work())


def test_a_postponed_order_is_not_claimed_before_it_is_due(
    orders: Orders, databases: Databases
) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=S.ROUTING)
        attempt = a_failed_attempt(claimed, delay_s=60)
        assert await orders.record_failed_attempt(attempt)
        assert await orders.record_failed_attempt(attempt)  # a repeat after a lost reply

        assert await orders.claim_started(most=1) == []
        assert await orders.claim(claimed.order.id) is None
        execute(databases.orders_url, "UPDATE orders SET next_run_at = now()")
        [again] = await orders.claim_started(most=1)
        assert again.order.attempts == 1

    run(work())
    assert len(rows(databases.orders_url, "SELECT * FROM order_attempts")) == 1


def a_failed_attempt(claimed: ClaimedOrder, **given: Any) -> FailedAttempt:
    return FailedAttempt(
        **{
            "order_id": claimed.order.id,
            "epoch": claimed.epoch,
            "attempt": claimed.order.attempts + 1,
            "step": claimed.order.status,
            "venue": None,
            "error_code": "venue_unavailable",
            "delay_s": 0.0,
            **given,
        }
    )


# Cancels


@pytest.mark.parametrize("status", [S.PENDING, S.ROUTING, S.BUILDING])
def test_cancelling_an_order_without_an_intent_fences_its_claimer(
    orders: Orders, status: OrderStatus
) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=status)
        answer = await orders.cancel(claimed.order.id, account_id=LOCAL_ACCOUNT)
        again = await orders.cancel(claimed.order.id, account_id=LOCAL_ACCOUNT)

        assert answer is not None
        assert answer.cancelled
        assert answer.event is not None
        assert answer.event.status is S.FAILED
        assert again is not None
        assert again.cancelled
        assert again.event is None
        target = {S.PENDING: S.ROUTING, S.ROUTING: S.BUILDING, S.BUILDING: S.SUBMITTED}[status]
        assert await orders.move(a_move(claimed, target)) is None

    run(work())


@pytest.mark.parametrize("status", [S.SUBMITTED, S.CONFIRMED])
def test_an_order_that_may_have_been_filled_cannot_be_cancelled(
    orders: Orders, status: OrderStatus
) -> None:
    async def work() -> None:
        claimed = await a_claimed_order(orders, at=status)
        answer = await orders.cancel(claimed.order.id, account_id=LOCAL_ACCOUNT)

        assert answer is not None
        assert not answer.cancelled
        assert answer.status is status

    run(work())


def test_an_unknown_order_cannot_be_cancelled(orders: Orders) -> None:
    async def work() -> None:
        assert await orders.cancel(OrderId(uuid.uuid4()), account_id=LOCAL_ACCOUNT) is None

    run(work())


def test_of_a_concurrent_cancel_and_submit_one_wins(orders: Orders, databases: Databases) -> None:
    async def race() -> None:
        claimed = await a_claimed_order(orders, at=S.BUILDING)
        rival = Orders(
            GroupCommit(databases.orders_url, application_name="rival"),
            Reader(databases.orders_url, application_name="rival", connections_max=1),
        )
        for _ in range(20):
            answer, event = await asyncio.gather(
                rival.cancel(claimed.order.id, account_id=LOCAL_ACCOUNT),
                orders.move(a_move(claimed, S.SUBMITTED)),
            )
            assert answer is not None
            assert answer.cancelled != (event is not None)
            claimed = await a_claimed_order(orders, at=S.BUILDING)
        rival.close()

    run(race())
    intents = rows(
        databases.orders_url,
        "SELECT 1 FROM execution_intents i JOIN orders o ON o.id = i.order_id WHERE o.status = 'failed'",
    )
    assert intents == []
