"""The ledger of the simulated chain: PostgreSQL, with its own database, connections and role.

The outcome of a transaction is fixed when it is sent and takes effect by the chain's clock, even
when every worker has died. Sending the same bytes again changes nothing. Two signatures for one
order are both accepted, so that a double fill would be visible.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.transaction import (
    Expiry,
    Fill,
    Outcome,
    Rejection,
    Signature,
    Transaction,
)
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement

NEVER_LANDS = "never_lands"
FILLED = "filled"
REJECTED = "rejected"
EXPIRED = "expired"
SLIPPAGE = "the price moved beyond the slippage tolerance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A transaction as it reaches the ledger, with its future outcome."""

    transaction: Transaction
    order_id: str
    venue: VenueName
    outcome: str
    reason: str | None
    executed_price: Decimal
    amount_out: Decimal
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Asks for the outcomes of several transactions; `call` tells it from other questions."""

    call: int
    signatures: Sequence[Signature]


class Ledger:
    """The chain, as the venues use it. Calls raise StoreUnavailable when it does not answer."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self._calls = itertools.count()  # a key for each question

    async def clock(self) -> datetime:
        """The chain's time, by which `valid_until` is decided."""
        return await self._commits.run(CLOCK, next(self._calls))

    async def record(self, entry: Entry) -> None:
        """Records a sent transaction. Sending it again does nothing."""
        await self._commits.run(RECORD, entry)

    async def outcomes(self, signatures: Sequence[Signature]) -> Mapping[Signature, Outcome]:
        """What became of transactions; one that may still land is left out."""
        question = Question(call=next(self._calls), signatures=signatures)
        return await self._commits.run(OUTCOMES, question)

    async def expire(self, transaction: Transaction) -> Outcome | None:
        """Records that an overdue transaction never lands, unless it has. None before `valid_until`."""
        return await self._commits.run(EXPIRE, transaction)


CLOCK: Statement[int, datetime] = Statement(
    name="chain_clock",
    sql="""
    SELECT v.call, clock_timestamp() AS now
    FROM json_to_recordset(%(rows)s::json) AS v(call bigint)
    """,
    key=lambda call: call,
    row=lambda call: {"call": call},
    answer_key=lambda row: row["call"],
    result=lambda _, rows: rows[0]["now"],
)


# A transaction that would land after valid_until never lands.
RECORD_SQL = """
INSERT INTO chain.transactions (signature, order_id, venue, outcome, reason, executed_price, amount_out,
                                lands_at, valid_until)
SELECT signature, order_id, venue,
       CASE WHEN now() + make_interval(secs => latency_s) > valid_until THEN 'never_lands' ELSE outcome END,
       reason, executed_price, amount_out, now() + make_interval(secs => latency_s), valid_until
FROM json_to_recordset(%(rows)s::json) AS v(
    signature text, order_id uuid, venue text, outcome text, reason text, executed_price numeric,
    amount_out numeric, latency_s double precision, valid_until timestamptz)
ON CONFLICT (signature) DO NOTHING
RETURNING signature
"""


def _entry_row(entry: Entry) -> Row:
    return {
        "signature": entry.transaction.signature,
        "order_id": entry.order_id,
        "venue": entry.venue,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "executed_price": str(entry.executed_price),
        "amount_out": str(entry.amount_out),
        "latency_s": entry.latency_s,
        "valid_until": entry.transaction.valid_until.isoformat(),
    }


RECORD: Statement[Entry, None] = Statement(
    name="chain_record",
    sql=RECORD_SQL,
    key=lambda entry: entry.transaction.signature,
    row=_entry_row,
    answer_key=lambda row: row["signature"],
    result=lambda _, rows: None,
)


HAS_OUTCOME = (
    "t.outcome = 'expired' OR (t.outcome IN ('filled', 'rejected') AND t.lands_at <= now())"
)

OUTCOMES_SQL = f"""
SELECT v.call, t.signature, t.outcome, t.reason, t.executed_price, t.amount_out
FROM json_to_recordset(%(rows)s::json) AS v(call bigint, signatures text[])
CROSS JOIN unnest(v.signatures) AS asked(signature)
JOIN chain.transactions t ON t.signature = asked.signature
WHERE {HAS_OUTCOME}
"""  # noqa: S608 - our own condition


def _outcome(row: Row) -> Outcome:
    if row["outcome"] == FILLED:
        return Fill(
            signature=Signature(row["signature"]),
            executed_price=row["executed_price"],
            amount_out=row["amount_out"],
        )
    if row["outcome"] == REJECTED:
        return Rejection(reason=row["reason"], slippage_exceeded=row["reason"] == SLIPPAGE)
    return Expiry()


OUTCOMES: Statement[Question, Mapping[Signature, Outcome]] = Statement(
    name="chain_outcomes",
    sql=OUTCOMES_SQL,
    key=lambda question: question.call,
    answer_key=lambda row: row["call"],
    result=lambda _, rows: {Signature(row["signature"]): _outcome(row) for row in rows},
)


# The transaction may never have reached the chain. The expiry is then the first entry, and a later
# `record` finds the signature taken.
EXPIRE_SQL = """
INSERT INTO chain.transactions (signature, order_id, venue, outcome, valid_until)
SELECT signature, order_id, venue, 'expired', valid_until
FROM json_to_recordset(%(rows)s::json) AS v(
    signature text, order_id uuid, venue text, valid_until timestamptz)
WHERE now() > valid_until
ON CONFLICT (signature) DO UPDATE SET outcome = 'expired' WHERE transactions.outcome = 'never_lands'
RETURNING signature, outcome, reason, executed_price, amount_out
"""

# of a transaction that has landed
LANDED_SQL = f"""
SELECT t.signature, t.outcome, t.reason, t.executed_price, t.amount_out
FROM json_to_recordset(%(rows)s::json) AS v(signature text)
JOIN chain.transactions t ON t.signature = v.signature
WHERE {HAS_OUTCOME}
"""  # noqa: S608 - our own condition


def _expiry_row(transaction: Transaction) -> Row:
    content = json.loads(transaction.content)
    return {
        "signature": transaction.signature,
        "order_id": content["orderId"],
        "venue": content["venue"],
        "valid_until": transaction.valid_until.isoformat(),
    }


EXPIRE: Statement[Transaction, Outcome | None] = Statement(
    name="chain_expire",
    sql=EXPIRE_SQL,
    key=lambda transaction: transaction.signature,
    row=_expiry_row,
    answer_key=lambda row: row["signature"],
    result=lambda _, rows: _outcome(rows[0]) if rows else None,
    follow_up=LANDED_SQL,
)
