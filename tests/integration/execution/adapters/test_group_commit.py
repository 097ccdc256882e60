"""Group commit on real PostgreSQL: lost replies, conflicts, frozen clients."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from execution.adapters.group_commit import GroupCommit
from execution.adapters.orders import Orders
from execution.adapters.postgres import Reader
from execution.domain.errors import StoreUnavailable
from execution.domain.ids import OrderId
from execution.domain.order import ClaimedOrder, NewOrder
from execution.domain.status import OrderStatus
from support.builders import a_new_order
from support.evidence import rows
from support.locks import locked_orders
from support.lossy_proxy import Loss, LossyProxy
from support.stores import Databases

S = OrderStatus


@contextmanager
def orders_at(url: str, *, claimer: str = "worker", deadline_s: float = 10) -> Iterator[Orders]:
    commits = GroupCommit(url, application_name=claimer, deadline_s=deadline_s)
    orders = Orders(
        commits, Reader(url, application_name=claimer, connections_max=2), claimer=claimer
    )
    yield orders
    orders.close()


@pytest.fixture
def proxy(databases: Databases) -> Iterator[LossyProxy]:
    proxy = LossyProxy(databases.orders_url)
    yield proxy
    proxy.close()


async def a_placed_order(orders: Orders) -> OrderId:
    return (await orders.place(a_new_order(id=OrderId(uuid.uuid4())))).order_id


async def a_claimed_order(orders: Orders) -> ClaimedOrder:
    claimed = await orders.claim(await a_placed_order(orders))
    assert claimed is not None
    return claimed


async def place(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    order = a_new_order(id=OrderId(uuid.uuid4()), idempotency_key="once", request_hash="aa")

    async def work() -> OrderId:
        placed = await orders.place(order)
        assert placed.created
        assert placed.order_id == order.id
        return order.id

    return work


async def claim(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    order_id = await a_placed_order(orders)

    async def work() -> OrderId:
        claimed = await orders.claim(order_id)
        assert claimed is not None
        event = await orders.move(
            claimed.move_to(S.ROUTING)
        )  # the epoch it got is the one in force
        assert event is not None
        return order_id

    return work


async def claim_waiting(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    order_id = await a_placed_order(orders)

    async def work() -> OrderId:
        [claimed] = await orders.claim_waiting(before=None, lag_s=0, most=5)
        assert claimed.order.id == order_id
        return order_id

    return work


async def move(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    claimed = await a_claimed_order(orders)

    async def work() -> OrderId:
        event = await orders.move(claimed.move_to(S.ROUTING))
        assert event is not None
        assert event.seq == 2
        return claimed.order.id

    return work


async def cancel(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    order_id = await a_placed_order(orders)

    async def work() -> OrderId:
        answer = await orders.cancel(order_id)
        assert answer is not None
        assert answer.cancelled
        return order_id

    return work


SEQ_AFTER = {place: 1, claim: 2, claim_waiting: 1, move: 2, cancel: 2}


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("prepare", SEQ_AFTER)
def test_a_lost_connection_is_resolved_by_repeating_the_statement(
    databases: Databases,
    proxy: LossyProxy,
    prepare: Callable[[Orders], Awaitable[Callable[[], Awaitable[OrderId]]]],
    loss: Loss,
) -> None:
    async def work() -> OrderId:
        with orders_at(proxy.url) as orders:
            perform = await prepare(orders)
            proxy.lose_next(loss)
            return await perform()

    order_id = asyncio.run(work())
    events = rows(
        databases.orders_url,
        "SELECT seq FROM order_events WHERE order_id = %s ORDER BY seq",
        [str(order_id)],
    )

    assert [event["seq"] for event in events] == list(range(1, SEQ_AFTER[prepare] + 1))
    assert len(rows(databases.orders_url, "SELECT 1 FROM orders")) == 1


def test_a_store_that_stays_away_is_said_in_time(databases: Databases, proxy: LossyProxy) -> None:
    async def work() -> None:
        with orders_at(proxy.url, deadline_s=0.5) as orders:
            order_id = await a_placed_order(orders)
            proxy.close()
            proxy.lose_next(Loss.REQUEST)
            with pytest.raises(StoreUnavailable):
                await orders.claim(order_id)

    asyncio.run(work())


def test_a_frozen_store_is_given_up_and_used_again_when_it_thaws(
    databases: Databases, proxy: LossyProxy
) -> None:
    async def work() -> None:
        with orders_at(proxy.url, deadline_s=0.5) as orders:
            order_id = await a_placed_order(orders)
            with proxy.holding_replies(), pytest.raises(StoreUnavailable):
                await orders.cancel(order_id)
            answer = await orders.cancel(order_id)

            assert answer is not None
            assert answer.cancelled

    asyncio.run(work())


def test_a_read_that_meets_a_lock_says_that_the_store_is_away(databases: Databases) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url) as orders:
            order_id = await a_placed_order(orders)
            with locked_orders(databases.orders_url), pytest.raises(StoreUnavailable):
                await orders.get(order_id)

            assert await orders.get(order_id) is not None

    asyncio.run(work())


def test_two_gateways_with_the_same_keys_in_opposite_order_never_deadlock(
    databases: Databases,
) -> None:
    conflicts = REGISTRY.get_sample_value(
        "commit_repeats_total", {"statement": "place", "reason": "conflict"}
    )

    async def work() -> None:
        with (
            orders_at(databases.orders_url, claimer="gateway-a") as first,
            orders_at(databases.orders_url, claimer="gateway-b") as second,
        ):
            for round_ in range(30):
                keys = [f"{round_}-{n}" for n in range(40)]
                placed = await asyncio.gather(
                    *(first.place(an_order_with(key)) for key in keys),
                    *(second.place(an_order_with(key)) for key in reversed(keys)),
                )
                assert sum(each.created for each in placed) == len(keys)

    asyncio.run(work())
    after = REGISTRY.get_sample_value(
        "commit_repeats_total", {"statement": "place", "reason": "conflict"}
    )

    assert after == conflicts
    assert len(rows(databases.orders_url, "SELECT 1 FROM orders")) == 30 * 40


def an_order_with(key: str) -> NewOrder:
    return a_new_order(id=OrderId(uuid.uuid4()), idempotency_key=key, request_hash="aa")


def test_a_frozen_client_stalls_nobody(databases: Databases, proxy: LossyProxy) -> None:
    async def work() -> None:
        with orders_at(proxy.url) as frozen, orders_at(databases.orders_url, claimer="b") as other:
            claimed = await a_claimed_order(frozen)
            with proxy.holding_replies() as held:
                stuck = asyncio.create_task(frozen.move(claimed.move_to(S.ROUTING)))
                await asyncio.to_thread(held.wait, 10)
                answer = await other.cancel(claimed.order.id)  # the same row, and no lock on it
                assert answer is not None
                assert answer.cancelled
            event = await stuck

            assert event is not None
            assert [e.status for e in await other.history(claimed.order.id)] == [
                S.PENDING,
                S.ROUTING,
                S.FAILED,
            ]

    asyncio.run(work())


def test_writes_that_gather_share_a_statement(databases: Databases) -> None:
    def statements() -> float:
        labels = {"statement": "place"}
        return REGISTRY.get_sample_value("commit_seconds_count", labels) or 0.0

    async def work() -> None:
        with orders_at(databases.orders_url) as orders:
            before = statements()
            await asyncio.gather(
                *(orders.place(a_new_order(id=OrderId(uuid.uuid4()))) for _ in range(500))
            )

            assert statements() - before < 50

    asyncio.run(work())
