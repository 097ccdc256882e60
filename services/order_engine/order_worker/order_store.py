from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder, Transition
from order_engine.execution.domain.transaction import Intent
from order_engine.execution.orders.moves import FailedAttempt


class OrderStore(Protocol):
    """What the worker needs of `order_engine.execution.orders.repository.Orders`, which says more of each call.

    Every call may raise StoreUnavailable, after which it may have been committed or not.
    """

    async def claim(self, order_id: OrderId) -> ClaimedOrder | None: ...

    async def claim_started(self, *, most: int) -> Sequence[ClaimedOrder]: ...

    async def count_waiting(self, *, before: datetime | None, lag_s: float, most: int) -> int: ...

    async def claim_waiting(
        self, *, before: datetime | None, lag_s: float, most: int
    ) -> Sequence[ClaimedOrder]: ...

    async def move(self, transition: Transition) -> OrderEvent | None: ...

    async def record_intent(self, claimed: ClaimedOrder, intent: Intent) -> bool: ...

    async def record_failed_attempt(self, attempt: FailedAttempt) -> bool: ...

    async def release(self, claimed: ClaimedOrder) -> bool: ...
