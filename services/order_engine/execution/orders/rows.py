"""Domain values from rows of PostgreSQL."""

from collections.abc import Sequence

import structlog

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import Order, OrderType
from order_engine.execution.domain.quote import ANY_SLIPPAGE, VenueName
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Intent, Signature, Transaction
from order_engine.execution.stores.rows import Row

log = structlog.get_logger()

POSITIVE = ("amount_in", "executed_price")
NUMBERS = (*POSITIVE, "slippage_tolerance", "min_amount_out", "amount_out")


def order_from(row: Row) -> Order:
    """Raises ValueError when this version does not know the type or status, or a number is impossible."""
    for name in NUMBERS:
        number = row[name]
        if number is None:
            continue
        if not number.is_finite() or number < 0 or (number == 0 and name in POSITIVE):
            raise ValueError(f"{name} is {number}")
    if row["slippage_tolerance"] > ANY_SLIPPAGE:
        raise ValueError(f"slippage_tolerance is {row['slippage_tolerance']}")
    return Order(
        id=OrderId(row["id"]),
        account_id=AccountId(row["account_id"]),
        idempotency_key=row["idempotency_key"],
        request_hash=None if row["request_hash"] is None else bytes(row["request_hash"]).hex(),
        type=OrderType(row["type"]),
        token_in=row["token_in"],
        token_out=row["token_out"],
        amount_in=row["amount_in"],
        slippage_tolerance=row["slippage_tolerance"],
        min_amount_out=row["min_amount_out"],
        status=OrderStatus(row["status"]),
        seq=row["seq"],
        attempts=row["attempts"],
        claims=row["claims"],
        venue=None if row["dex_type"] is None else VenueName(row["dex_type"]),
        executed_price=row["executed_price"],
        amount_out=row["amount_out"],
        tx_hash=row["tx_hash"],
        error_code=row["error_code"],
        error_reason=row["error_reason"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def readable_orders(rows: Sequence[Row]) -> list[tuple[Order, Row]]:
    """The orders that this version can read, each with its row."""
    orders = []
    for row in rows:
        try:
            orders.append((order_from(row), row))
        except (ValueError, TypeError, ArithmeticError) as error:
            log.error("order not understood", order_id=str(row["id"]), error=str(error))
    return orders


def event_from(row: Row) -> OrderEvent:
    """Raises ValueError when this version does not know the status, or the payload is not an object."""
    if not isinstance(row["payload"], dict):
        raise ValueError("the payload of an event is not an object")
    return OrderEvent(
        order_id=OrderId(row["order_id"]),
        seq=row["seq"],
        status=OrderStatus(row["status"]),
        occurred_at=row["occurred_at"],
        payload=row["payload"],
    )


def intent_from(row: Row) -> Intent:
    """Raises ValueError when the quote is not an object."""
    if not isinstance(row["quote"], dict):
        raise ValueError("the quote of an intent is not an object")
    return Intent(
        n=row["n"],
        venue=VenueName(row["venue"]),
        transaction=Transaction(
            signature=Signature(row["signature"]),
            content=bytes(row["transaction"]),
            valid_until=row["valid_until"],
        ),
        quote=row["quote"],
    )
