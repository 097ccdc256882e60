"""An executor with scripted venues and one order in memory."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.order_worker.executor import Executor, RetryPolicy
from order_engine.order_worker.steps import Market
from support.builders import ORDER_ID, a_move, a_new_order
from support.clock import Clock
from support.memory_orders import Fault, MemoryOrders, Row
from support.scripted_venue import ScriptedVenue

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus
HAPPY_PATH = [PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED]


def a_market(
    *venues: ScriptedVenue, clock: Clock | None = None, quote_timeout_s: float = 0
) -> Market:
    """Unless there is a quote timeout, a venue that does not answer at once is late."""
    return Market(
        venues={venue.name: venue for venue in venues},
        quote_timeout_s=quote_timeout_s,
        poll_s=0,
        now=clock or Clock(),
    )


class Worker:
    def __init__(
        self,
        *venues: ScriptedVenue,
        attempts_max: int = 3,
        backoff_s: float = 8.0,
        quote_timeout_s: float = 0,
    ) -> None:
        self.clock = Clock()
        self.orders = MemoryOrders(now=self.clock)
        self.held: list[OrderId] = []  # leases that are being renewed
        self.held_before: list[OrderId] = []
        self.gates: list[asyncio.Event] = []
        self.executor = Executor(
            orders=self.orders,
            market=a_market(*venues, clock=self.clock, quote_timeout_s=quote_timeout_s),
            retry=RetryPolicy(attempts_max=attempts_max, backoff_s=backoff_s, stuck_delay_s=0),
            lease_held=self._lease_held,
        )

    @property
    def row(self) -> Row:
        return self.orders.rows[ORDER_ID]

    @property
    def statuses(self) -> list[OrderStatus]:
        return [event.status for event in self.row.events]

    def place(self, *, at: OrderStatus = PENDING, **named: Any) -> None:
        """Places the order; an earlier worker has moved it to `at` and then released it."""

        async def work() -> None:
            await self.orders.place(a_new_order(**named))
            if at is PENDING:
                return
            claimed = await self._claimed()
            for target in HAPPY_PATH[1 : HAPPY_PATH.index(at) + 1]:
                move = a_move(claimed, target)
                event = await self.orders.move(move)
                assert event is not None
                claimed = claimed.after(move, event)
            await self.orders.release(claimed)

        asyncio.run(work())

    def claim(self) -> ClaimedOrder:
        return asyncio.run(self._claimed())

    def hold(self, call: str) -> None:
        """The next such call of the store returns only once its gate is open."""
        self.gates.append(asyncio.Event())
        self.orders.faults[call] = Fault(gate=self.gates[-1])

    def execute(self) -> None:
        """The job of the order queue."""
        asyncio.run(self.executor.execute(str(ORDER_ID)))

    def execute_claimed(self, claimed: ClaimedOrder) -> None:
        asyncio.run(self.executor.execute_claimed(claimed))

    def execute_later(self) -> None:
        """Executes the order once every lease has expired and every postponed order is due."""
        self.clock.advance(60)
        self.execute()

    async def _claimed(self) -> ClaimedOrder:
        claimed = await self.orders.claim(ORDER_ID)
        assert claimed is not None
        return claimed

    @contextmanager
    def _lease_held(self, claimed: ClaimedOrder) -> Iterator[None]:
        self.held.append(claimed.order.id)
        try:
            yield
        finally:
            self.held.remove(claimed.order.id)
            self.held_before.append(claimed.order.id)
