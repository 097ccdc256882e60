"""Leases on orders: claimed by hint, by recovery and by watermark; renewed; released.

A claim increments `lease_epoch`. Every later write names the epoch of its claim, and the database
refuses the write once another claim has incremented the epoch again. Each claim has an owner of its
own, so that a repeat after a lost reply finds the orders that the first try has claimed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.orders.rows import readable_orders
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement

SET_ASIDE_S = 300.0  # a repaired order, or a newer version, goes on within this time


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Who claims orders, and for how many seconds each claim is leased to it."""

    name: str
    lease_s: float


NO_CLAIMER = Claimer(name="", lease_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request for orders: `order_id`, or else up to `most` that are due. The lease is in seconds."""

    owner: str
    lease_s: float
    order_id: OrderId | None = None
    most: int = 1
    before: datetime | None = None
    lag_s: float = 0.0


CLAIM_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        order_id uuid, owner text, lease_s double precision)
), due AS (
    SELECT o.id, v.owner, v.lease_s
    FROM v JOIN orders o ON o.id = v.order_id
    WHERE o.status NOT IN ('confirmed', 'failed') AND o.next_run_at <= now()
      AND (o.lease_until IS NULL OR o.lease_until <= now() OR o.lease_owner = v.owner)
    ORDER BY o.id
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders o
SET lease_owner = due.owner, lease_epoch = o.lease_epoch + 1,
    lease_until = now() + make_interval(secs => due.lease_s),
    claims = o.claims + 1, started_at = coalesce(o.started_at, now())
FROM due WHERE o.id = due.id
RETURNING o.*
"""

# Ids of orders that a batch claim may take, for when one of them makes the batch fail.
STARTED_IDS = """
SELECT id
FROM orders
WHERE lease_epoch > 0 AND status NOT IN ('confirmed', 'failed') AND next_run_at <= now()
  AND (lease_until IS NULL OR lease_until <= now())
ORDER BY id
LIMIT %(most)s
"""

CLAIM_STARTED_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        owner text, most integer, lease_s double precision)
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
    lease_until = now() + make_interval(secs => (SELECT lease_s FROM v)), claims = o.claims + 1
FROM due WHERE o.id = due.id
RETURNING o.*
"""

WAITING_IDS = """
SELECT id
FROM orders
WHERE lease_epoch = 0 AND status NOT IN ('confirmed', 'failed')
  AND created_at < coalesce(%(before)s, now()) - make_interval(secs => %(lag_s)s)
ORDER BY created_at, id
LIMIT %(most)s
"""

CLAIM_WAITING_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        owner text, most integer, before timestamptz, lag_s double precision,
        lease_s double precision)
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
    lease_until = now() + make_interval(secs => (SELECT lease_s FROM v)), claims = o.claims + 1,
    started_at = coalesce(o.started_at, now())
FROM due WHERE o.id = due.id
RETURNING o.*
"""


class Claimed(list[ClaimedOrder]):
    """The orders of a claim. `all_readable` is False when it has claimed others that cannot be read."""

    all_readable = True


def _claimed(_: Claim, rows: Sequence[Row]) -> Claimed:
    claimed = Claimed(
        ClaimedOrder(order=order, epoch=row["lease_epoch"]) for order, row in readable_orders(rows)
    )
    claimed.all_readable = len(claimed) == len(rows)
    return claimed


def _salvaged(claim: Claim, rows: Sequence[Row]) -> Claimed:
    claimed = _claimed(claim, rows)
    claimed.all_readable = False
    return claimed


CLAIM: Statement[Claim, Claimed] = Statement(
    name="claim",
    sql=CLAIM_SQL,
    key=lambda claim: claim.order_id,
    answer_key=lambda row: row["id"],
    result=_claimed,
    salvage=_salvaged,
)

CLAIM_STARTED: Statement[Claim, Claimed] = Statement(
    name="claim_started",
    sql=CLAIM_STARTED_SQL,
    key=lambda _: "started",
    answer_key=lambda _: "started",
    result=_claimed,
    salvage=_salvaged,
)

CLAIM_WAITING: Statement[Claim, Claimed] = Statement(
    name="claim_waiting",
    sql=CLAIM_WAITING_SQL,
    key=lambda _: "waiting",
    answer_key=lambda _: "waiting",
    result=_claimed,
    salvage=_salvaged,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The orders of the claim by `owner`, except for those that can be read."""

    owner: str
    readable: Sequence[OrderId]
    delay_s: float = SET_ASIDE_S


# Each claim has an owner of its own. A repeat finds no lease any more.
SET_ASIDE_SQL = """
UPDATE orders o
SET next_run_at = now() + make_interval(secs => v.delay_s), lease_owner = NULL, lease_until = NULL,
    claims = 0
FROM json_to_recordset(%(rows)s::json) AS v(owner text, readable uuid[], delay_s double precision)
WHERE o.lease_epoch > 0 AND o.status NOT IN ('confirmed', 'failed')
  AND o.lease_owner = v.owner AND o.id <> ALL(v.readable)
RETURNING v.owner, o.id
"""

SET_ASIDE: Statement[SetAside, Sequence[OrderId]] = Statement(
    name="set_aside",
    sql=SET_ASIDE_SQL,
    key=lambda aside: aside.owner,
    answer_key=lambda row: row["owner"],
    result=lambda _, rows: [OrderId(row["id"]) for row in rows],
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
    row=lambda claimed: {"order_id": claimed.order.id, "epoch": claimed.epoch},
    answer_key=lambda row: row["id"],
    result=lambda _, rows: bool(rows),
)


# Names (id, epoch) pairs and not the owner, so that it renews only the leases that are held.
RENEW = """
WITH held AS (
    SELECT o.id, v.lease_s
    FROM json_to_recordset(%(rows)s::json) AS v(
        order_id uuid, epoch bigint, lease_s double precision)
    JOIN orders o ON o.id = v.order_id AND o.lease_epoch = v.epoch
    WHERE o.status NOT IN ('confirmed', 'failed')
    ORDER BY o.id
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders o SET lease_until = now() + make_interval(secs => held.lease_s)
FROM held WHERE o.id = held.id AND o.lease_owner IS NOT NULL
"""


def lease_rows(leases: Iterable[tuple[OrderId, int]], *, lease_s: float) -> list[Row]:
    """The rows of RENEW, which runs on a thread and connection of its own, not in the group commit."""
    return [
        {"order_id": str(order_id), "epoch": epoch, "lease_s": lease_s}
        for order_id, epoch in leases
    ]
