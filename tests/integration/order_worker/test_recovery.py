"""Recovery takes tokens of the rate window in Redis for the waiting orders that it starts."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.messages.hints import order_job_id
from order_engine.order_worker.recovery import Recovery
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from support.builders import a_new_order
from support.clock import Clock
from support.memory_orders import Fault, MemoryOrders

LIMIT = 3
KEY = "starts"


@dataclass(kw_only=True)
class EmptyQueue:
    """The order queue as the last claim of jobs found it."""

    without_redis: bool = False
    head: float | None = None
    empty: bool = True
    suspended: bool = False

    @property
    def last_claim(self) -> "EmptyQueue":
        return self


def a_window(client: redis.Redis) -> RateWindow:
    """A window that Redis has not lost."""
    window = RateWindow(client, key=KEY, limit=LIMIT, shared=True)
    client.set(window.marker_key, 1)
    return window


class Scene:
    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.clock = Clock()
        self.orders = MemoryOrders(now=self.clock)
        self.executed: list[OrderId] = []

    async def place(self, count: int) -> None:
        """Places orders that are old enough for their hints to be lost."""
        for _ in range(count):
            await self.orders.place(a_new_order(id=OrderId(uuid.uuid4())))
        self.clock.advance(60)

    async def run(self, *, until_executed: int) -> None:
        """Runs recovery until that many orders have been executed."""
        recovery = Recovery(
            orders=self.orders,
            queue=EmptyQueue(),
            slots=Slots(10),
            window=a_window(self.client),
            execute=self._execute,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(recovery.run(stop))
        async with asyncio.timeout(10):
            while len(self.executed) < until_executed:
                await asyncio.sleep(0.01)
        stop.set()
        await running

    async def _execute(self, claimed: ClaimedOrder) -> None:
        self.executed.append(claimed.order.id)

    def tokens(self) -> Sequence[str]:
        members: list[Any] = list(self.client.zrange(KEY, 0, -1))
        return sorted(member.decode() for member in members)


def test_each_start_has_a_token_and_there_are_no_more_than_the_limit(client: redis.Redis) -> None:
    scene = Scene(client)

    async def work() -> None:
        await scene.place(5)
        await scene.run(until_executed=LIMIT)

    asyncio.run(work())

    assert len(scene.executed) == LIMIT
    assert scene.tokens() == sorted(order_job_id(order_id) for order_id in scene.executed)


def test_starts_of_other_processes_count_against_the_limit(client: redis.Redis) -> None:
    scene = Scene(client)
    a_window(client).take(2)

    async def work() -> None:
        await scene.place(5)
        await scene.run(until_executed=1)

    asyncio.run(work())

    assert len(scene.executed) == 1


def test_tokens_are_returned_when_the_orders_could_not_be_claimed(client: redis.Redis) -> None:
    scene = Scene(client)

    async def work() -> None:
        await scene.place(2)
        scene.orders.faults["claim_waiting"] = Fault(error=StoreUnavailable("no answer"))
        await scene.run(until_executed=2)  # by the second claim, a second later

    asyncio.run(work())

    assert scene.tokens() == sorted(order_job_id(order_id) for order_id in scene.executed)
