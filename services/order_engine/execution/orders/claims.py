"""Leases on orders: taken by hint, by recovery and by watermark, renewed, and given back.

A claim raises `lease_epoch`; every later write names the epoch that it works under, and the
database refuses it once another claim has raised it again. The owner of a lease is new with each
claim, so that a repeat after a lost reply finds what it has claimed already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.orders.rows import intent_from, order_from
from order_engine.execution.stores.group_commit import Statement
from order_engine.execution.stores.postgres import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    owner: str
    order_id: OrderId | None = None
    most: int = 1
    before: datetime | None = None
    lag_s: float = 0.0


CLAIM_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, owner text)
), due AS (
    SELECT o.id, v.owner
    FROM v JOIN orders o ON o.id = v.order_id
    WHERE o.status NOT IN ('confirmed', 'failed') AND o.next_run_at <= now()
      AND (o.lease_until IS NULL OR o.lease_until <= now() OR o.lease_owner = v.owner)
    ORDER BY o.id
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders o
SET lease_owner = due.owner, lease_epoch = o.lease_epoch + 1, lease_until = now() + interval '10 s',
    claims = o.claims + 1, started_at = coalesce(o.started_at, now())
FROM due WHERE o.id = due.id
RETURNING o.*
"""

CLAIM_STARTED_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(owner text, most integer)
), due AS (
    SELECT o.id
    FROM orders o
    WHERE o.lease_epoch > 0 AND o.status NOT IN ('confirmed', 'failed') AND o.next_run_at <= now()
      AND (o.lease_until IS NULL OR o.lease_until <= now() OR o.lease_owner = (SELECT owner FROM v))
    ORDER BY o.id
    LIMIT (SELECT most FROM v)
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders o
SET lease_owner = (SELECT owner FROM v), lease_epoch = o.lease_epoch + 1,
    lease_until = now() + interval '10 s', claims = o.claims + 1
FROM due WHERE o.id = due.id
RETURNING o.*
"""

CLAIM_WAITING_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        owner text, most integer, before timestamptz, lag_s double precision)
), repeated AS (
    SELECT o.id
    FROM orders o
    WHERE o.lease_epoch > 0 AND o.status NOT IN ('confirmed', 'failed')
      AND o.lease_owner = (SELECT owner FROM v)
    FOR UPDATE OF o SKIP LOCKED
), waiting AS (
    SELECT o.id
    FROM orders o
    WHERE o.lease_epoch = 0 AND o.status NOT IN ('confirmed', 'failed')
      AND o.created_at < (SELECT coalesce(before, now()) - make_interval(secs => lag_s) FROM v)
    ORDER BY o.created_at, o.id
    LIMIT (SELECT most - (SELECT count(*) FROM repeated) FROM v)
    FOR UPDATE OF o SKIP LOCKED
), due AS (
    SELECT id FROM repeated UNION ALL SELECT id FROM waiting
)
UPDATE orders o
SET lease_owner = (SELECT owner FROM v), lease_epoch = o.lease_epoch + 1,
    lease_until = now() + interval '10 s', claims = o.claims + 1,
    started_at = coalesce(o.started_at, now())
FROM due WHERE o.id = due.id
RETURNING o.*
"""


def _claimed(_: Claim, rows: Sequence[Row]) -> list[ClaimedOrder]:
    return [ClaimedOrder(order=order_from(row), epoch=row["lease_epoch"]) for row in rows]


CLAIM: Statement[Claim, list[ClaimedOrder]] = Statement(
    name="claim",
    sql=CLAIM_SQL,
    key=lambda claim: claim.order_id,
    row=lambda claim: {"order_id": str(claim.order_id), "owner": claim.owner},
    answer_key=lambda row: row["id"],
    result=_claimed,
)

CLAIM_STARTED: Statement[Claim, list[ClaimedOrder]] = Statement(
    name="claim_started",
    sql=CLAIM_STARTED_SQL,
    key=lambda _: "started",
    row=lambda claim: {"owner": claim.owner, "most": claim.most},
    answer_key=lambda _: "started",
    result=_claimed,
)

CLAIM_WAITING: Statement[Claim, list[ClaimedOrder]] = Statement(
    name="claim_waiting",
    sql=CLAIM_WAITING_SQL,
    key=lambda _: "waiting",
    row=lambda claim: {
        "owner": claim.owner,
        "most": claim.most,
        "before": claim.before and claim.before.isoformat(),
        "lag_s": claim.lag_s,
    },
    answer_key=lambda _: "waiting",
    result=_claimed,
)


COUNT_WAITING = """
SELECT count(*) AS count
FROM (
    SELECT 1
    FROM orders o
    WHERE o.lease_epoch = 0 AND o.status NOT IN ('confirmed', 'failed')
      AND o.created_at < coalesce(%(before)s, now()) - make_interval(secs => %(lag_s)s)
    LIMIT %(most)s
) AS waiting
"""


INTENTS = """
SELECT order_id, n, venue, signature, transaction, quote, valid_until, state
FROM execution_intents
WHERE order_id = ANY(%(orders)s::uuid[])
ORDER BY order_id, n
"""


def with_intents(claimed: ClaimedOrder, rows: Sequence[Row]) -> ClaimedOrder:
    counts = [row for row in rows if row["state"] != "dead"]
    return ClaimedOrder(
        order=claimed.order,
        epoch=claimed.epoch,
        intent=intent_from(counts[0]) if counts else None,
        intents=len(rows),
    )


RELEASE_SQL = """
UPDATE orders o
SET lease_owner = NULL, lease_until = NULL, claims = greatest(o.claims - 1, 0)
FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, epoch bigint)
WHERE o.id = v.order_id AND o.lease_epoch = v.epoch AND o.lease_owner IS NOT NULL
  AND o.status NOT IN ('confirmed', 'failed')
RETURNING o.id
"""

RELEASE: Statement[ClaimedOrder, bool] = Statement(
    name="release",
    sql=RELEASE_SQL,
    key=lambda claimed: claimed.order.id,
    row=lambda claimed: {"order_id": str(claimed.order.id), "epoch": claimed.epoch},
    answer_key=lambda row: row["id"],
    result=lambda _, rows: bool(rows),
)


# Names (id, epoch) pairs and never the owner, so that it renews only what is in hand.
RENEW = """
WITH held AS (
    SELECT o.id
    FROM json_to_recordset(%(rows)s::json) AS v(order_id uuid, epoch bigint)
    JOIN orders o ON o.id = v.order_id AND o.lease_epoch = v.epoch
    WHERE o.status NOT IN ('confirmed', 'failed')
    ORDER BY o.id
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders o SET lease_until = now() + interval '10 s'
FROM held WHERE o.id = held.id AND o.lease_owner IS NOT NULL
"""


def lease_rows(leases: Iterable[tuple[OrderId, int]]) -> list[Row]:
    """The rows of RENEW; it runs on a connection and thread of its own, beside the writer."""
    return [{"order_id": str(order_id), "epoch": epoch} for order_id, epoch in leases]
