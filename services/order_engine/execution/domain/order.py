from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from order_engine.execution.domain.errors import IllegalTransition, OrderFailed
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.payload import (
    Payload,
    failure_payload,
    fill_payload,
    intent_payload,
    route_payload,
)
from order_engine.execution.domain.quote import Pair, Quote, VenueName
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

    @property
    def pair(self) -> Pair:
        return Pair(self.token_in, self.token_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(NewOrder):
    """An order as committed in PostgreSQL; its clock set every timestamp."""

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
    """One move of an order's status, committed only while `epoch` is still the order's epoch.

    `cause` names the claim and the step, so that a write repeated after a lost reply finds the
    event that it has already committed.
    """

    order_id: OrderId
    epoch: int
    source: OrderStatus
    target: OrderStatus
    payload: Payload = field(default_factory=dict)
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
        """The venue that this move chooses; None when it chooses none."""
        if self.intent is not None:
            return self.intent.venue
        return self.quote.venue if self.quote is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedOrder:
    """An order under the lease of one claim, until the lease expires or a later claim fences it.

    `intent` is the one that may still land; `intents` counts all that were ever recorded. `quote` is
    the one that the route was chosen by; it is known only to the claim that chose it.

    Every move raises IllegalTransition when TRANSITIONS does not allow it.
    """

    order: Order
    epoch: int
    intent: Intent | None = None
    intents: int = 0
    quote: Quote | None = None

    def started(self) -> Transition:
        """The move to `routing`."""
        return self._move(OrderStatus.ROUTING)

    def routed(self, chosen: Quote, quotes: Sequence[Quote]) -> Transition:
        """The move to `building`; its event shows every quote that `chosen` was compared with."""
        payload = route_payload(chosen, quotes)
        return replace(self._move(OrderStatus.BUILDING), quote=chosen, payload=payload)

    def submitted(self, intent: Intent) -> Transition:
        """The move to `submitted`, which records the intent before anything is sent."""
        payload = intent_payload(intent)
        return replace(self._move(OrderStatus.SUBMITTED), intent=intent, payload=payload)

    def confirmed(self, fill: Fill) -> Transition:
        move = self._move(OrderStatus.CONFIRMED)
        if self.intent is None:
            raise IllegalTransition("an order without an intent cannot be confirmed")
        payload = fill_payload(fill, self.intent)
        return replace(move, fill=fill, settles=self.intent.n, payload=payload)

    def failed(self, failure: OrderFailed) -> Transition:
        """The move to `failed`; the caller knows that no intent of the order can land any more."""
        return replace(
            self._move(OrderStatus.FAILED),
            failure=failure,
            settles=self.intent.n if self.intent else None,
            payload=failure_payload(failure),
        )

    def after(self, move: Transition, event: OrderEvent) -> "ClaimedOrder":
        """The order once `move` has been committed as `event`."""
        order = replace(
            self.order,
            status=event.status,
            seq=event.seq,
            claims=0,
            venue=move.venue or self.order.venue,
            updated_at=event.occurred_at,
        )
        after = replace(self, order=order, quote=move.quote)
        return after if move.intent is None else after.holding(move.intent)

    def holding(self, intent: Intent) -> "ClaimedOrder":
        """The order with a further intent recorded."""
        return replace(self, intent=intent, intents=intent.n)

    def _move(self, target: OrderStatus) -> Transition:
        source = self.order.status
        if target not in TRANSITIONS[source]:
            raise IllegalTransition(f"{source} -> {target}")
        return Transition(order_id=self.order.id, epoch=self.epoch, source=source, target=target)
