"""Moves of claimed orders. Every statement is fenced by the epoch of the claim.

The move to `submitted` also records the signed transaction.
"""

from dataclasses import dataclass
from typing import Any

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import Transition
from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Intent
from order_engine.execution.orders.rows import event_from
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transition to commit. It renews the lease of an order that is not final by `lease_s`."""

    transition: Transition
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextIntent:
    """A further intent of a submitted order, after the last one died. Renews the lease."""

    order_id: OrderId
    epoch: int
    intent: Intent
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """A transient venue failure: the order is due again after `delay_s`, by PostgreSQL's clock.

    `dead_intent` is the number of the intent that the venue has declared dead, if any.
    """

    order_id: OrderId
    epoch: int
    attempt: int
    step: OrderStatus
    venue: VenueName | None
    error_code: str
    delay_s: float
    dead_intent: int | None = None


MOVE_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        order_id uuid, epoch bigint, source text, target text, cause text, payload jsonb, venue text,
        executed_price numeric, amount_out numeric, tx_hash text, error_code text, error_reason text,
        intent_n integer, signature text, transaction text, quote jsonb, valid_until timestamptz,
        settles integer, lease_s double precision)
), moved AS (
    UPDATE orders o
    SET status = v.target, seq = o.seq + 1, claims = 0, updated_at = now(),
        lease_until = CASE WHEN v.target IN ('confirmed', 'failed') THEN NULL
                           ELSE now() + make_interval(secs => v.lease_s) END,
        dex_type = coalesce(v.venue, o.dex_type), executed_price = v.executed_price,
        amount_out = v.amount_out, tx_hash = v.tx_hash,
        error_code = v.error_code, error_reason = v.error_reason
    FROM v
    WHERE o.id = v.order_id AND o.lease_epoch = v.epoch AND o.status = v.source
    RETURNING v.*, o.seq, o.attempts
), intended AS (
    INSERT INTO execution_intents (order_id, n, epoch, venue, signature, transaction, quote, valid_until)
    SELECT order_id, intent_n, epoch, venue, signature, decode(transaction, 'hex'), quote, valid_until
    FROM moved WHERE intent_n IS NOT NULL
), settled AS (
    UPDATE execution_intents i
    SET state = CASE m.target WHEN 'confirmed' THEN 'landed' ELSE 'dead' END
    FROM moved m WHERE i.order_id = m.order_id AND i.n = m.settles
)
INSERT INTO order_events (order_id, seq, status, attempt, cause, payload)
SELECT order_id, seq, target, attempts, cause, payload FROM moved
RETURNING order_id, seq, status, payload, occurred_at
"""

MOVED_BEFORE_SQL = """
SELECT e.order_id, e.seq, e.status, e.payload, e.occurred_at
FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, cause text)
JOIN order_events e ON e.order_id = v.order_id AND e.cause = v.cause
"""


def _move_row(move: Transition) -> Row:
    fill, failure, intent = move.fill, move.failure, move.intent
    row: dict[str, Any] = {
        "order_id": str(move.order_id),
        "epoch": move.epoch,
        "source": move.source,
        "target": move.target,
        "cause": move.cause,
        "payload": move.payload,
        "venue": move.venue,
        "settles": move.settles,
    }
    if fill is not None:
        row["executed_price"] = str(fill.executed_price)
        row["amount_out"] = str(fill.amount_out)
        row["tx_hash"] = fill.signature
    if failure is not None:
        row["error_code"] = failure.code
        row["error_reason"] = str(failure)
    return row if intent is None else {**row, **_intent_row(intent)}


def _intent_row(intent: Intent) -> Row:
    return {
        "intent_n": intent.n,
        "venue": intent.venue,
        "signature": intent.transaction.signature,
        "transaction": intent.transaction.content.hex(),
        "quote": intent.quote,
        "valid_until": intent.transaction.valid_until.isoformat(),
    }


MOVE: Statement[Move, OrderEvent | None] = Statement(
    name="move",
    sql=MOVE_SQL,
    key=lambda move: move.transition.order_id,
    row=lambda move: {**_move_row(move.transition), "lease_s": move.lease_s},
    answer_key=lambda row: row["order_id"],
    result=lambda _, rows: event_from(rows[0]) if rows else None,
    follow_up=MOVED_BEFORE_SQL,
    events=lambda event: [] if event is None else [event],
)


# Only a conflict on `signature` means that an earlier try has recorded the intent and its reply was
# lost. Any other violation must fail, or a transaction would be sent that no intent records.
NEXT_INTENT_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        order_id uuid, epoch bigint, intent_n integer, venue text, signature text, transaction text,
        quote jsonb, valid_until timestamptz, lease_s double precision)
), held AS (
    UPDATE orders o
    SET lease_until = now() + make_interval(secs => v.lease_s), dex_type = v.venue
    FROM v
    WHERE o.id = v.order_id AND o.lease_epoch = v.epoch AND o.status = 'submitted'
    RETURNING v.*
), intended AS (
    INSERT INTO execution_intents (order_id, n, epoch, venue, signature, transaction, quote, valid_until)
    SELECT order_id, intent_n, epoch, venue, signature, decode(transaction, 'hex'), quote, valid_until
    FROM held
    ON CONFLICT (signature) DO NOTHING
)
SELECT order_id FROM held
"""

NEXT_INTENT: Statement[NextIntent, bool] = Statement(
    name="next_intent",
    sql=NEXT_INTENT_SQL,
    key=lambda next_: next_.order_id,
    row=lambda next_: {
        "order_id": next_.order_id,
        "epoch": next_.epoch,
        "lease_s": next_.lease_s,
        **_intent_row(next_.intent),
    },
    answer_key=lambda row: row["order_id"],
    result=lambda _, rows: bool(rows),
)


FAILED_ATTEMPT_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        order_id uuid, epoch bigint, attempt integer, step text, venue text, error_code text,
        delay_s double precision, dead_intent integer)
), held AS (
    UPDATE orders o
    SET attempts = v.attempt, next_run_at = now() + make_interval(secs => v.delay_s),
        lease_owner = NULL, lease_until = NULL
    FROM v
    WHERE o.id = v.order_id AND o.lease_epoch = v.epoch AND o.status NOT IN ('confirmed', 'failed')
    RETURNING v.*
), dead AS (
    UPDATE execution_intents i SET state = 'dead'
    FROM held h WHERE i.order_id = h.order_id AND i.n = h.dead_intent AND i.state = 'live'
), recorded AS (
    INSERT INTO order_attempts (order_id, n, step, venue, error_code)
    SELECT order_id, attempt, step, venue, error_code FROM held
    ON CONFLICT (order_id, n) DO NOTHING
)
SELECT order_id FROM held
"""

FAILED_ATTEMPT: Statement[FailedAttempt, bool] = Statement(
    name="failed_attempt",
    sql=FAILED_ATTEMPT_SQL,
    key=lambda attempt: attempt.order_id,
    answer_key=lambda row: row["order_id"],
    result=lambda _, rows: bool(rows),
)
