"""Which orders recovery claims, and what becomes of its slots. No Redis: nothing here takes a token."""

import asyncio
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg2.errors
import pytest
import redis

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.order_worker.recovery import HINT_LAG_S, Recovery
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from support.builders import NOON, a_new_order
from support.clock import Clock
from support.memory_orders import Fault, MemoryOrders


@dataclass(kw_only=True)
class LastClaim:
    """What the last claim of jobs reported: by default a queue that is known to be empty."""

    head: float | None = None
    empty: bool = True
    suspended: bool = False


@dataclass(kw_only=True)
class Queue:
    without_redis: bool = False
    last_claim: LastClaim | None = field(default_factory=LastClaim)


class Scene:
    """Recovery over orders in memory. An execution lasts until `finish` is set."""

    def __init__(self, *, slots: int = 10, queue: Queue | None = None, limit: int = 0) -> None:
        self.clock = Clock()
        self.orders = MemoryOrders(now=self.clock)
        self.slots = Slots(slots)
        self.executed: list[OrderId] = []
        self.finish = asyncio.Event()
        self.ended: list[OrderId] = []
        self.fails = False
        self.recovery = Recovery(
            orders=self.orders,
            queue=queue or Queue(),
            slots=self.slots,
            window=RateWindow(redis.Redis(), key="starts", limit=limit),
            execute=self.execute,
        )

    async def place(self, count: int = 1, *, age_s: float = 60) -> list[OrderId]:
        """Places orders that are `age_s` old."""
        ids = [OrderId(uuid.uuid4()) for _ in range(count)]
        for order_id in ids:
            await self.orders.place(a_new_order(id=order_id))
            row = self.orders.rows[order_id]
            created_at = self.clock() - timedelta(seconds=age_s)
            row.order = replace(row.order, created_at=created_at)
        return ids

    async def execute(self, claimed: ClaimedOrder) -> None:
        self.executed.append(claimed.order.id)
        if self.fails:
            raise ValueError("a bug")
        try:
            await self.finish.wait()
        finally:
            self.ended.append(claimed.order.id)

    async def run(self, *, until: Callable[[], bool]) -> None:
        """Runs recovery until the fact, and then stops it."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.recovery.run(stop))
        async with asyncio.timeout(5):
            while not until():
                await asyncio.sleep(0)
        stop.set()
        await running

    async def run_once(self) -> None:
        """Runs recovery for more turns of the event loop than one claim takes."""
        turns = itertools.count()
        await self.run(until=lambda: next(turns) == 20)


# Waiting orders


@pytest.mark.parametrize(
    ("queue", "age_s", "claimed"),
    [
        (Queue(), 2.1, True),
        (Queue(), 1.9, False),
        (Queue(last_claim=None), 60, False),
        (Queue(last_claim=LastClaim(suspended=True)), 60, False),
        (Queue(last_claim=LastClaim(head=None, empty=False)), 60, False),
        (Queue(last_claim=LastClaim(head=NOON.timestamp(), empty=False)), 2.1, True),
        (Queue(last_claim=LastClaim(head=NOON.timestamp(), empty=False)), 1.9, False),
        (Queue(last_claim=LastClaim(head=NOON.timestamp() - 30, empty=False)), 32.1, True),
        (Queue(last_claim=LastClaim(head=NOON.timestamp() - 30, empty=False)), 31.9, False),
        (Queue(without_redis=True, last_claim=None), 0.001, True),
        (Queue(without_redis=True, last_claim=LastClaim(suspended=True)), 0.001, True),
    ],
)
def test_a_waiting_order_is_claimed_when_its_hint_is_known_to_be_lost(
    queue: Queue, age_s: float, claimed: bool
) -> None:
    async def work() -> None:
        scene = Scene(queue=queue)
        ids = await scene.place(age_s=age_s)
        await scene.run_once()

        assert scene.executed == (ids if claimed else [])

    asyncio.run(work())


def test_a_hint_is_on_its_way_for_two_seconds() -> None:
    assert HINT_LAG_S == 2


def test_waiting_orders_are_claimed_oldest_first() -> None:
    async def work() -> None:
        scene = Scene(slots=2)
        young, old = await scene.place(2, age_s=30), await scene.place(2, age_s=60)
        scene.finish.set()
        await scene.run(until=lambda: len(scene.ended) == 4)

        assert sorted(scene.executed[:2]) == sorted(old)
        assert sorted(scene.executed[2:]) == sorted(young)

    asyncio.run(work())


def test_waiting_orders_that_fill_the_slots_are_followed_by_more_at_once() -> None:
    async def work() -> None:
        scene = Scene(slots=2)
        ids = await scene.place(7)
        scene.finish.set()
        await scene.run(until=lambda: len(scene.ended) == 7)

        assert sorted(scene.executed) == sorted(ids)

    asyncio.run(work())


def test_without_redis_the_process_keeps_the_rate_limit_itself() -> None:
    async def work() -> None:
        scene = Scene(queue=Queue(without_redis=True), limit=3)
        await scene.place(5)
        await scene.run_once()

        assert len(scene.executed) == 3

    asyncio.run(work())


# Started orders


@pytest.mark.parametrize("queue", [Queue(), Queue(last_claim=None), Queue(without_redis=True)])
def test_a_started_order_is_claimed_once_its_lease_has_expired(queue: Queue) -> None:
    async def work() -> None:
        scene = Scene(queue=queue)
        [order_id] = await scene.place()
        await scene.orders.claim(order_id)
        await scene.run_once()
        assert scene.executed == []

        scene.clock.advance(10)
        await scene.run_once()
        assert scene.executed == [order_id]

    asyncio.run(work())


def test_started_orders_go_before_waiting_ones() -> None:
    async def work() -> None:
        scene = Scene(slots=1)
        started, _ = await scene.place(2)
        claimed = await scene.orders.claim(started)
        assert claimed is not None
        await scene.orders.release(claimed)
        await scene.run_once()

        assert scene.executed == [started]

    asyncio.run(work())


def test_started_orders_do_not_count_against_the_rate_limit() -> None:
    async def work() -> None:
        scene = Scene(queue=Queue(without_redis=True), limit=1)
        ids = await scene.place(3)
        for order_id in ids:
            await scene.orders.claim(order_id)
        scene.clock.advance(10)
        await scene.run_once()

        assert sorted(scene.executed) == sorted(ids)

    asyncio.run(work())


# Slots


def test_each_order_has_a_slot_until_it_ends() -> None:
    async def work() -> None:
        scene = Scene(slots=5)
        await scene.place(2)
        await scene.run_once()
        assert scene.slots.free == 3

        scene.finish.set()
        await scene.recovery.drain(timeout_s=5)
        assert scene.slots.free == 5

    asyncio.run(work())


@pytest.mark.parametrize("call", ["claim_started", "count_waiting", "claim_waiting"])
@pytest.mark.parametrize(
    "error", [StoreUnavailable("no answer"), psycopg2.errors.LockNotAvailable("locked")]
)
def test_a_claim_that_fails_keeps_no_slot(call: str, error: Exception) -> None:
    async def work() -> None:
        scene = Scene()
        await scene.place()
        scene.orders.faults[call] = Fault(error=error)
        await scene.run_once()

        assert (scene.executed, scene.slots.free) == ([], 10)

    asyncio.run(work())


def test_orders_claimed_before_a_failure_are_executed() -> None:
    async def work() -> None:
        scene = Scene()
        started, _ = await scene.place(2)
        await scene.orders.claim(started)
        scene.clock.advance(10)
        scene.orders.faults["claim_waiting"] = Fault(error=StoreUnavailable("no answer"))
        await scene.run_once()

        assert (scene.executed, scene.slots.free) == ([started], 9)

    asyncio.run(work())


def test_an_execution_that_raises_gives_back_its_slot_and_stops_nothing_else() -> None:
    async def work() -> None:
        scene = Scene()
        scene.fails = True
        await scene.place(2)
        await scene.run_once()

        assert (len(scene.executed), scene.slots.free) == (2, 10)

    asyncio.run(work())


# Draining


def test_a_drain_waits_for_orders_that_end_in_time() -> None:
    async def work() -> None:
        scene = Scene()
        ids = await scene.place(2)
        await scene.run_once()
        asyncio.get_running_loop().call_soon(scene.finish.set)
        await scene.recovery.drain(timeout_s=5)

        assert sorted(scene.ended) == sorted(ids)

    asyncio.run(work())


def test_a_drain_cancels_orders_that_take_too_long() -> None:
    async def work() -> None:
        scene = Scene()
        ids = await scene.place(2)
        await scene.run_once()
        await scene.recovery.drain(timeout_s=0)

        assert sorted(scene.ended) == sorted(ids)
        assert scene.slots.free == 10

    asyncio.run(work())
