"""Orders enter: one statement commits each with its first event, or finds the one with its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.rows import text
from order_engine.execution.stores.group_commit import Statement
from order_engine.execution.stores.postgres import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a placement came to. `created` is False where the idempotency key was known before."""

    order_id: OrderId
    status: OrderStatus
    created_at: datetime
    created: bool
    same_request: bool


PLACE_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        id uuid, account_id text, idempotency_key text, request_hash text, type text, token_in text,
        token_out text, amount_in numeric, slippage_tolerance numeric, min_amount_out numeric)
), placed AS (
    INSERT INTO orders (id, account_id, idempotency_key, request_hash, type, token_in, token_out,
                        amount_in, slippage_tolerance, min_amount_out)
    SELECT id, account_id, idempotency_key, decode(request_hash, 'hex'), type, token_in, token_out,
           amount_in, slippage_tolerance, min_amount_out
    FROM v
    ON CONFLICT DO NOTHING
    RETURNING id, account_id, idempotency_key, encode(request_hash, 'hex') AS request_hash, status, created_at
), event AS (
    INSERT INTO order_events (order_id, seq, status, cause, occurred_at)
    SELECT id, 1, 'pending', 'placed', created_at FROM placed
)
SELECT * FROM placed
"""

PLACED_BEFORE_SQL = """
SELECT o.id, o.account_id, o.idempotency_key, encode(o.request_hash, 'hex') AS request_hash, o.status, o.created_at
FROM json_to_recordset(%(rows)s::json) AS v(id uuid, account_id text, idempotency_key text)
JOIN orders o ON o.id = v.id OR (o.account_id = v.account_id AND o.idempotency_key = v.idempotency_key)
"""


def _placement_key(account_id: str, idempotency_key: str | None, order_id: object) -> str:
    return f"{account_id}/{idempotency_key}" if idempotency_key else str(order_id)


def _placed(order: NewOrder, rows: Sequence[Row]) -> Placed:
    [row] = {row["id"]: row for row in rows}.values()
    return Placed(
        order_id=OrderId(row["id"]),
        status=OrderStatus(row["status"]),
        created_at=row["created_at"],
        created=row["id"] == order.id,
        same_request=row["request_hash"] == order.request_hash,
    )


PLACE: Statement[NewOrder, Placed] = Statement(
    name="place",
    sql=PLACE_SQL,
    key=lambda order: _placement_key(order.account_id, order.idempotency_key, order.id),
    row=lambda order: {
        "id": str(order.id),
        "account_id": order.account_id,
        "idempotency_key": order.idempotency_key,
        "request_hash": order.request_hash,
        "type": order.type,
        "token_in": order.token_in,
        "token_out": order.token_out,
        "amount_in": str(order.amount_in),
        "slippage_tolerance": str(order.slippage_tolerance),
        "min_amount_out": text(order.min_amount_out),
    },
    answer_key=lambda row: _placement_key(row["account_id"], row["idempotency_key"], row["id"]),
    result=_placed,
    follow_up=PLACED_BEFORE_SQL,
)
