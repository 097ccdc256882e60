"""Orders that a test moves itself, with the transitions that an order-worker commits."""

import uuid
from dataclasses import dataclass

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from support.builders import a_move, a_new_order

HAPPY_PATH = (
    OrderStatus.PENDING,
    OrderStatus.ROUTING,
    OrderStatus.BUILDING,
    OrderStatus.SUBMITTED,
    OrderStatus.CONFIRMED,
)


@dataclass(slots=True)
class DrivenOrder:
    """A claimed order and the repository that commits its transitions."""

    orders: Orders
    claimed: ClaimedOrder

    @property
    def order_id(self) -> OrderId:
        return self.claimed.order.id

    async def move(self, target: OrderStatus) -> OrderEvent:
        """Commits the transition to `target` and returns its event."""
        move = a_move(self.claimed, target)
        event = await self.orders.move(move)
        assert event is not None
        self.claimed = self.claimed.after(move, event)
        return event

    async def advance(self, *, to: OrderStatus) -> list[OrderEvent]:
        """Commits the transitions of the happy path up to the status `to`."""
        first = HAPPY_PATH.index(self.claimed.order.status) + 1
        return [await self.move(target) for target in HAPPY_PATH[first : HAPPY_PATH.index(to) + 1]]


async def claim_order(orders: Orders, order_id: OrderId) -> DrivenOrder:
    """Claims an order that is already placed."""
    claimed = await orders.claim(order_id)
    assert claimed is not None
    return DrivenOrder(orders, claimed)


async def place_order(orders: Orders, *, at: OrderStatus = OrderStatus.PENDING) -> DrivenOrder:
    """Places a new order, claims it and moves it to the status `at`."""
    placed = await orders.place(a_new_order(id=OrderId(uuid.uuid4())))
    order = await claim_order(orders, placed.order_id)
    await order.advance(to=at)
    return order


async def events_of(orders: Orders, order_id: OrderId, *, after: int = 0) -> list[OrderEvent]:
    """The events of an order that must exist."""
    history = await orders.history(order_id, after=after)
    assert history is not None
    return list(history.events)
