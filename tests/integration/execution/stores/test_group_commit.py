"""Group commit on real PostgreSQL: lost replies, conflicts, frozen clients."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT, ClaimedOrder, NewOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import SPLITS_MAX, GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement
from support.builders import a_new_order
from support.driven_orders import events_of
from support.evidence import rows
from support.locks import locked_orders, locked_rows
from support.lossy_proxy import Loss, LossyProxy
from support.stores import Databases, execute
from support.waiting import wait_until

S = OrderStatus

WITHIN_S = 60.0  # for facts that a slow machine makes true late; no test waits for it to pass

# A deadlock then ends as one; with the default of 1 s, lock_timeout ends it as a locked row.
REPORT_DEADLOCKS = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', current_database());
END $$
"""


@contextmanager
def orders_at(url: str, *, claimer: str = "worker", deadline_s: float = 10) -> Iterator[Orders]:
    commits = GroupCommit(url, application_name=claimer, deadline_s=deadline_s)
    orders = Orders(
        commits,
        Reader(url, application_name=claimer, connections_max=2),
        claimer=Claimer(name=claimer, lease_s=10),
    )
    yield orders
    orders.close()


@pytest.fixture
def proxy(databases: Databases) -> Iterator[LossyProxy]:
    proxy = LossyProxy(databases.orders_url)
    yield proxy
    proxy.close()


@asynccontextmanager
async def one_queue(orders: Orders, proxy: LossyProxy) -> AsyncIterator[None]:
    """Calls that start in this block wait together: the statement before them gets no reply."""
    with proxy.holding_replies() as held:
        before = asyncio.create_task(orders.claim(OrderId(uuid.uuid4())))
        assert await asyncio.to_thread(held.wait, WITHIN_S)
        yield
        await asyncio.sleep(0)  # every call of the block is in the queue
    await before


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
        event = await orders.move(claimed.started())  # the claim has the current epoch
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
        event = await orders.move(claimed.started())
        assert event is not None
        assert event.seq == 2
        return claimed.order.id

    return work


async def cancel(orders: Orders) -> Callable[[], Awaitable[OrderId]]:
    order_id = await a_placed_order(orders)

    async def work() -> OrderId:
        answer = await orders.cancel(order_id, account_id=LOCAL_ACCOUNT)
        assert answer is not None
        assert answer.cancelled
        return order_id

    return work


Prepare = Callable[[Orders], Awaitable[Callable[[], Awaitable[OrderId]]]]
SEQ_AFTER: dict[Prepare, int] = {place: 1, claim: 2, claim_waiting: 1, move: 2, cancel: 2}


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("prepare", SEQ_AFTER)
def test_a_lost_connection_is_resolved_by_repeating_the_statement(
    databases: Databases,
    proxy: LossyProxy,
    prepare: Prepare,
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


def test_a_store_that_stays_away_raises_in_time(databases: Databases, proxy: LossyProxy) -> None:
    async def work() -> None:
        with orders_at(proxy.url, deadline_s=0.5) as orders:
            order_id = await a_placed_order(orders)
            proxy.close()
            proxy.lose_next(Loss.REQUEST)
            with pytest.raises(StoreUnavailable):
                await orders.claim(order_id)

    asyncio.run(work())


def test_a_frozen_store_times_out_and_is_used_again_when_it_answers(
    databases: Databases, proxy: LossyProxy
) -> None:
    async def work() -> None:
        with orders_at(proxy.url, deadline_s=0.5) as orders:
            order_id = await a_placed_order(orders)
            with proxy.holding_replies(), pytest.raises(StoreUnavailable):
                await orders.cancel(order_id, account_id=LOCAL_ACCOUNT)
            answer = await orders.cancel(order_id, account_id=LOCAL_ACCOUNT)

            assert answer is not None
            assert answer.cancelled

    asyncio.run(work())


def test_a_read_that_waits_too_long_for_a_lock_raises_store_unavailable(
    databases: Databases,
) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url) as orders:
            order_id = await a_placed_order(orders)
            with locked_orders(databases.orders_url), pytest.raises(StoreUnavailable):
                await orders.get(order_id, account_id=LOCAL_ACCOUNT)

            assert await orders.get(order_id, account_id=LOCAL_ACCOUNT) is not None

    asyncio.run(work())


def test_two_gateways_with_the_same_keys_in_opposite_order_never_deadlock(
    databases: Databases,
) -> None:
    execute(databases.orders_url, REPORT_DEADLOCKS)
    deadlocks = repeats("place", "conflict")

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

    assert repeats("place", "conflict") == deadlocks
    assert len(rows(databases.orders_url, "SELECT 1 FROM orders")) == 30 * 40


def repeats(statement: str, reason: str) -> float:
    labels = {"statement": statement, "reason": reason}
    return REGISTRY.get_sample_value("order_engine_commit_repeats_total", labels) or 0.0


def an_order_with(key: str) -> NewOrder:
    return a_new_order(id=OrderId(uuid.uuid4()), idempotency_key=key, request_hash="aa")


def test_a_frozen_client_blocks_no_other(databases: Databases, proxy: LossyProxy) -> None:
    async def work() -> None:
        with orders_at(proxy.url) as frozen, orders_at(databases.orders_url, claimer="b") as other:
            await frozen.move((await a_claimed_order(frozen)).started())  # prepares the statement
            claimed = await a_claimed_order(frozen)
            with proxy.holding_replies() as held:
                stuck = asyncio.create_task(frozen.move(claimed.started()))
                await asyncio.to_thread(held.wait, 10)
                answer = await other.cancel(
                    claimed.order.id, account_id=LOCAL_ACCOUNT
                )  # the same row, which is not locked
                assert answer is not None
                assert answer.cancelled
            event = await stuck

            assert event is not None
            assert [e.status for e in await events_of(other, claimed.order.id)] == [
                S.PENDING,
                S.ROUTING,
                S.FAILED,
            ]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("locked", "retried"),
    [([0], 0), ([137], 0), ([255], 0), ([3, 200], 7 + 15)],
    ids=["first", "middle", "last", "two"],
)
def test_a_locked_row_delays_neither_its_batch_nor_later_calls(
    databases: Databases, proxy: LossyProxy, locked: list[int], retried: int
) -> None:
    """The splits isolate one row; of two rows, groups of 8 and of 16 are left and tried again.

    Results are judged by their order: those of a batch come before those of the next one.
    """

    async def work() -> None:
        with orders_at(proxy.url, deadline_s=WITHIN_S) as orders:
            claimed = sorted(
                await asyncio.gather(*(a_claimed_order(orders) for _ in range(256))),
                key=lambda claimed: str(claimed.order.id),
            )
            finished: list[asyncio.Task[Any]] = []
            with locked_rows(databases.orders_url, [claimed[n].order.id for n in locked]):
                async with one_queue(orders, proxy):
                    moving = [asyncio.create_task(orders.move(c.started())) for c in claimed]
                    behind = asyncio.create_task(a_placed_order(orders))
                    free = [move for n, move in enumerate(moving) if n not in locked]
                    for call in (*free, behind):
                        call.add_done_callback(finished.append)
                _, waiting = await asyncio.wait([*free, behind], timeout=WITHIN_S)
                assert not waiting
                assert not any(moving[n].done() for n in locked)
            events = await asyncio.gather(*moving)

            assert all(event is not None and event.seq == 2 for event in events)
            in_the_batch = finished.index(behind)
            assert in_the_batch == len(free) - retried

    asyncio.run(work())


def test_a_cancel_of_a_locked_order_delays_no_placement(databases: Databases) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url, deadline_s=WITHIN_S) as orders:
            order_id = await a_placed_order(orders)
            with locked_rows(databases.orders_url, [order_id]):
                before = repeats("cancel", "locked")
                cancel = asyncio.create_task(orders.cancel(order_id, account_id=LOCAL_ACCOUNT))
                async with asyncio.timeout(WITHIN_S):
                    while repeats("cancel", "locked") < before + 5:
                        await a_placed_order(orders)
                    await a_placed_order(orders)
                assert not cancel.done()
            answer = await cancel

            assert answer is not None
            assert answer.cancelled

    asyncio.run(work())


def test_a_row_that_stays_locked_fails_alone_and_in_time(databases: Databases) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url, deadline_s=0.5) as orders:
            order_id = await a_placed_order(orders)
            with locked_rows(databases.orders_url, [order_id]), pytest.raises(StoreUnavailable):
                await orders.cancel(order_id, account_id=LOCAL_ACCOUNT)

    asyncio.run(work())


def test_a_lock_on_the_whole_table_loses_no_write(databases: Databases) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url, deadline_s=WITHIN_S) as orders:
            claimed = await asyncio.gather(*(a_claimed_order(orders) for _ in range(64)))
            before = repeats("move", "locked")
            with locked_orders(databases.orders_url):
                moving = asyncio.gather(*(orders.move(c.started()) for c in claimed))
                await asyncio.to_thread(
                    wait_until,
                    lambda: repeats("move", "locked") > before + 2 * SPLITS_MAX + 1,
                    timeout_s=WITHIN_S,
                    what="a second batch that meets the lock",
                )
                assert not moving.done()
            events = await moving

            assert all(event is not None and event.seq == 2 for event in events)

    asyncio.run(work())


class Wrong(Exception):
    pass


def numbers(*, wrong_row: int = -1, wrong_result: int = -1) -> Statement[int, int]:
    def row(n: int) -> Row:
        if n == wrong_row:
            raise Wrong
        return {"n": n}

    def result(n: int, _: Sequence[Row]) -> int:
        if n == wrong_result:
            raise Wrong
        return n

    return Statement(
        name="numbers",
        sql="SELECT n FROM json_to_recordset(%(rows)s::json) AS v(n integer)",
        key=lambda n: n,
        row=row,
        answer_key=lambda row: row["n"],
        result=result,
    )


@pytest.mark.parametrize("statement", [numbers(wrong_row=30), numbers(wrong_result=30)])
def test_an_error_in_encoding_or_reading_one_call_fails_alone(
    databases: Databases, statement: Statement[int, int]
) -> None:
    async def work() -> list[int | BaseException]:
        with closing(GroupCommit(databases.orders_url, application_name="test")) as commits:
            return await asyncio.gather(
                *(commits.run(statement, n) for n in range(64)), return_exceptions=True
            )

    results = asyncio.run(work())

    assert isinstance(results.pop(30), Wrong)
    assert results == [n for n in range(64) if n != 30]


def test_concurrent_writes_share_statements(databases: Databases, proxy: LossyProxy) -> None:
    def statements() -> float:
        labels = {"statement": "place"}
        return REGISTRY.get_sample_value("order_engine_commit_seconds_count", labels) or 0.0

    async def work() -> None:
        with orders_at(proxy.url, deadline_s=WITHIN_S) as orders:
            await a_placed_order(orders)
            before = statements()
            async with one_queue(orders, proxy):
                placing = asyncio.gather(
                    *(orders.place(a_new_order(id=OrderId(uuid.uuid4()))) for _ in range(500))
                )
            await placing

            assert statements() - before == 2

    asyncio.run(work())


# Prepared statements


def test_a_column_added_by_a_migration_does_not_fail_a_prepared_statement(
    databases: Databases,
) -> None:
    async def work() -> None:
        with orders_at(databases.orders_url) as orders:
            await a_claimed_order(orders)
            execute(databases.orders_url, "ALTER TABLE orders ADD COLUMN later integer")

            await a_claimed_order(orders)

    asyncio.run(work())


def test_a_session_that_has_lost_its_prepared_statements_goes_on_without(
    databases: Databases,
) -> None:
    async def work() -> list[int]:
        with closing(GroupCommit(databases.orders_url, application_name="test")) as commits:
            statement = numbers()
            first = await commits.run(statement, 1)
            session = commits._session._session
            assert session is not None
            await session.execute("DEALLOCATE ALL")  # as when a pooler gives another session
            return [first, await commits.run(statement, 2), await commits.run(statement, 3)]

    assert asyncio.run(work()) == [1, 2, 3]
