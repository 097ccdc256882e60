"""The answers of the HTTP API. Amounts are Decimal, times are aware and in UTC."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter, with_config

from order_engine.client.wire import CAMEL_CASE
from order_engine.execution.domain.status import OrderStatus


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The order is committed. `replayed`: an earlier request with the same key committed it."""

    order_id: UUID
    status: OrderStatus
    message: str
    replayed: bool = False


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order. `slippage_tolerance` is in percent; None means not known yet, or not set."""

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
    """This cancel or an earlier one ended the order; nothing was or will be swapped."""

    order_id: UUID
    status: OrderStatus


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    status: str
    timestamp: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """The body that contains an order."""

    order: OrderView


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """A page of orders. `next_cursor` requests the next page; None on the last one."""

    orders: tuple[OrderView, ...]
    next_cursor: str | None


ACKNOWLEDGEMENT = TypeAdapter(Acknowledgement)
ORDER = TypeAdapter(OrderAnswer)
ORDERS = TypeAdapter(OrderPage)
CANCELLATION = TypeAdapter(Cancellation)
HEALTH = TypeAdapter(Health)
