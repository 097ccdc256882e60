"""What the engine answers over HTTP: amounts as Decimal, times aware and in UTC."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter, with_config

from order_engine.client.wire import CAMEL_CASE
from order_engine.execution.domain.status import OrderStatus


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The order is committed. `replayed`: it already was, under the same idempotency key."""

    order_id: UUID
    status: OrderStatus
    message: str
    replayed: bool = False


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order as it stands. `slippage_tolerance` is in percent; None is not known yet, or unset."""

    order_id: UUID
    type: str
    token_in: str
    token_out: str
    amount_in: Decimal
    slippage_tolerance: Decimal
    min_amount_out: Decimal | None
    status: OrderStatus
    dex_type: str | None
    executed_price: Decimal | None
    amount_out: Decimal | None
    tx_hash: str | None
    error_code: str | None
    error_reason: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The order has failed because of this cancel or an earlier one; nothing was or will be swapped."""

    order_id: UUID
    status: OrderStatus


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    status: str
    timestamp: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """The envelope of an order."""

    order: OrderView


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Some orders; `next_cursor` asks for those that follow, None where there are none."""

    orders: tuple[OrderView, ...]
    next_cursor: str | None


ACKNOWLEDGEMENT = TypeAdapter(Acknowledgement)
ORDER = TypeAdapter(OrderAnswer)
ORDERS = TypeAdapter(OrderPage)
CANCELLATION = TypeAdapter(Cancellation)
HEALTH = TypeAdapter(Health)
