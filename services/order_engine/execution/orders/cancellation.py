"""Cancellation by the gateway, which holds no claim.

An order can be cancelled while its status is one of `CANCELLABLE`. It has no intent then, so the row
lock decides the race with the worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.rows import event_from
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement

CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    order_id: OrderId
    account_id: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAnswer:
    """The order after the call. `event` is set only when this call cancelled it."""

    status: OrderStatus
    cancelled: bool
    event: OrderEvent | None


CANCEL_SQL = """
WITH moved AS (
    UPDATE orders o
    SET status = 'failed', seq = o.seq + 1, lease_epoch = o.lease_epoch + 1, lease_owner = NULL,
        lease_until = NULL, updated_at = now(), error_code = 'cancelled',
        error_reason = 'cancelled by the client'
    FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, account_id text)
    WHERE o.id = v.order_id AND o.account_id = v.account_id AND o.status IN ('pending', 'routing', 'building')
    RETURNING o.id, o.seq, o.attempts, o.error_code, o.error_reason
)
INSERT INTO order_events (order_id, seq, status, attempt, cause, payload)
SELECT id, seq, 'failed', attempts, 'cancel',
       jsonb_build_object('errorCode', error_code, 'errorReason', error_reason)
FROM moved
RETURNING order_id, seq, status, payload, occurred_at, 'cancelled' AS error_code
"""

NOT_CANCELLED_SQL = """
SELECT o.id AS order_id, o.status, o.error_code
FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, account_id text)
JOIN orders o ON o.id = v.order_id AND o.account_id = v.account_id
"""


def _cancel_answer(_: Cancel, rows: Sequence[Row]) -> CancelAnswer | None:
    if not rows:
        return None
    row = rows[0]
    return CancelAnswer(
        status=OrderStatus(row["status"]),
        cancelled=row["error_code"] == CANCELLED,
        event=event_from(row) if "seq" in row else None,
    )


CANCEL: Statement[Cancel, CancelAnswer | None] = Statement(
    name="cancel",
    sql=CANCEL_SQL,
    key=lambda cancel: cancel.order_id,
    answer_key=lambda row: row["order_id"],
    result=_cancel_answer,
    follow_up=NOT_CANCELLED_SQL,
    events=lambda answer: [] if answer is None or answer.event is None else [answer.event],
)
