from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from order_engine.execution.domain.errors import IllegalTransition, OrderFailed
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.status import TRANSITIONS, OrderStatus
from order_engine.execution.domain.transaction import Fill, Intent

LOCAL_ACCOUNT = AccountId("local")


class OrderType(StrEnum):
    MARKET = "market"  # executed at once, at the best quote


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A validated order, not yet committed. `slippage_tolerance` is in percent, 0 to 100."""

    id: OrderId
    account_id: AccountId = LOCAL_ACCOUNT
    type: OrderType = OrderType.MARKET
    token_in: str
    token_out: str
    amount_in: Decimal
    slippage_tolerance: Decimal
    min_amount_out: Decimal | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(NewOrder):
    """An order as committed in PostgreSQL, whose clock wrote every timestamp."""

    status: OrderStatus
    seq: int
    attempts: int
    claims: int
    venue: VenueName | None
    executed_price: Decimal | None
    amount_out: Decimal | None
    tx_hash: str | None
    error_code: str | None
    error_reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One move, to be committed only while `epoch` still holds the order's lease.

    `cause` names the step that made it, so that a repeat after a lost reply finds its own event.
    """

    order_id: OrderId
    epoch: int
    source: OrderStatus
    target: OrderStatus
    payload: Mapping[str, Any] = field(default_factory=dict)
    quote: Quote | None = None
    intent: Intent | None = None
    fill: Fill | None = None
    failure: OrderFailed | None = None
    settles: int | None = None  # number of the intent that this move ends

    @property
    def cause(self) -> str:
        return f"{self.epoch}:{self.target}"

    @property
    def venue(self) -> VenueName | None:
        """Where the order is to be executed, as far as this move decides it."""
        if self.intent is not None:
            return self.intent.venue
        return self.quote.venue if self.quote is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedOrder:
    """An order in the hands of one claimer, until its lease runs out or a later claim fences it.

    `intent` is the one that may still land, if there is one; `intents` counts all ever made. `quote`
    is the one that the route was chosen by, while this claimer remembers it.
    """

    order: Order
    epoch: int
    intent: Intent | None = None
    intents: int = 0
    quote: Quote | None = None

    def move_to(self, target: OrderStatus, **facts: Any) -> Transition:
        """The transition to `target`; raises IllegalTransition where the table has none."""
        if target not in TRANSITIONS[self.order.status]:
            raise IllegalTransition(f"{self.order.status} -> {target}")
        return Transition(
            order_id=self.order.id,
            epoch=self.epoch,
            source=self.order.status,
            target=target,
            **facts,
        )

    def after(self, move: Transition, event: OrderEvent) -> "ClaimedOrder":
        """The order as it stands once `move` has been committed as `event`."""
        order = replace(
            self.order,
            status=event.status,
            seq=event.seq,
            claims=0,
            venue=move.venue or self.order.venue,
            updated_at=event.occurred_at,
        )
        return replace(self, order=order, quote=move.quote).holding(move.intent)

    def holding(self, intent: Intent | None) -> "ClaimedOrder":
        """The order with a further intent recorded."""
        return self if intent is None else replace(self, intent=intent, intents=intent.n)
