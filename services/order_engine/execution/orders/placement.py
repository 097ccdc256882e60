"""Placing orders: one statement commits an order with its first event, or finds the order that has
its idempotency key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.rows import event_from
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The order that holds the idempotency key: the one just placed, or an earlier one.

    `event` is its first event, `status` its status now. `created` is False for an earlier order,
    and `same_request` says whether that one had the same body.
    """

    event: OrderEvent
    status: OrderStatus
    created: bool
    same_request: bool

    @property
    def order_id(self) -> OrderId:
        return self.event.order_id


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
    RETURNING id, account_id, idempotency_key, encode(request_hash, 'hex') AS request_hash,
              status AS order_status, created_at
), event AS (
    INSERT INTO order_events (order_id, seq, status, cause, occurred_at)
    SELECT id, 1, 'pending', 'placed', created_at FROM placed
    RETURNING order_id, seq, status, payload, occurred_at
)
SELECT p.account_id, p.idempotency_key, p.request_hash, p.order_status,
       e.order_id, e.seq, e.status, e.payload, e.occurred_at
FROM placed p JOIN event e ON e.order_id = p.id
"""

PLACED_BEFORE_SQL = """
SELECT o.account_id, o.idempotency_key, encode(o.request_hash, 'hex') AS request_hash,
       o.status AS order_status, e.order_id, e.seq, e.status, e.payload, e.occurred_at
FROM json_to_recordset(%(rows)s::json) AS v(id uuid, account_id text, idempotency_key text)
JOIN orders o ON o.id = v.id OR (o.account_id = v.account_id AND o.idempotency_key = v.idempotency_key)
JOIN order_events e ON e.order_id = o.id AND e.seq = 1
"""


def _placement_key(account_id: str, idempotency_key: str | None, order_id: object) -> str:
    return f"{account_id}/{idempotency_key}" if idempotency_key else str(order_id)


def _placed(order: NewOrder, rows: Sequence[Row]) -> Placed:
    [row] = {row["order_id"]: row for row in rows}.values()
    return Placed(
        event=event_from(row),
        status=OrderStatus(row["order_status"]),
        created=row["order_id"] == order.id,
        same_request=row["request_hash"] == order.request_hash,
    )


PLACE: Statement[NewOrder, Placed] = Statement(
    name="place",
    sql=PLACE_SQL,
    key=lambda order: _placement_key(order.account_id, order.idempotency_key, order.id),
    answer_key=lambda row: _placement_key(
        row["account_id"], row["idempotency_key"], row["order_id"]
    ),
    result=_placed,
    follow_up=PLACED_BEFORE_SQL,
    events=lambda placed: [placed.event] if placed.created else [],
)
