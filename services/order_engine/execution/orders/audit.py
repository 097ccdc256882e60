"""The invariants of orders, checked by PostgreSQL."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from order_engine.execution.domain.ids import OrderId

FIRST_ID = OrderId(UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A position in the sequence of all changes; many orders may change at the same time."""

    changed_at: datetime
    order_id: OrderId = FIRST_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedOrder:
    """An order and the names of the invariants that it breaks, which only a bug can do."""

    change: Change
    broken: tuple[str, ...]


# One statement has one snapshot, so a change that runs at the same time is not taken for a fault.
AUDIT = """
WITH changed AS (
    SELECT id, status, seq, updated_at
    FROM orders
    WHERE (updated_at, id) > (%(changed_at)s, %(order_id)s::uuid)
      AND updated_at < now() - make_interval(secs => %(lag_s)s)
    ORDER BY updated_at, id
    LIMIT %(most)s
), judged AS (
    SELECT c.*,
           e.events, e.first_seq, e.last_seq, e.finals, e.last_status,
           coalesce(i.live, 0) AS live, coalesce(i.landed, 0) AS landed
    FROM changed c
    LEFT JOIN LATERAL (
        SELECT count(*) AS events, min(seq) AS first_seq, max(seq) AS last_seq,
               count(*) FILTER (WHERE status IN ('confirmed', 'failed')) AS finals,
               (array_agg(status ORDER BY seq DESC))[1] AS last_status
        FROM order_events WHERE order_id = c.id
    ) e ON true
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state = 'live') AS live,
               count(*) FILTER (WHERE state = 'landed') AS landed
        FROM execution_intents WHERE order_id = c.id
    ) i ON true
)
SELECT id, updated_at,
       array_remove(ARRAY[
           CASE WHEN first_seq IS DISTINCT FROM 1 OR events <> last_seq THEN 'events_have_a_gap' END,
           CASE WHEN seq IS DISTINCT FROM last_seq THEN 'seq_is_not_the_last_event' END,
           CASE WHEN status IS DISTINCT FROM last_status THEN 'status_is_not_the_last_event' END,
           CASE WHEN finals > 1 THEN 'more_than_one_final_event' END,
           CASE WHEN status = 'confirmed' AND landed <> 1 THEN 'confirmed_without_one_landed_intent' END,
           CASE WHEN status = 'failed' AND live + landed > 0 THEN 'failed_with_an_intent_that_counts' END
       ], NULL) AS broken
FROM judged
ORDER BY updated_at, id
"""

# Started, due, and without a lease for longer than recovery takes.
STUCK = """
SELECT count(*) AS count
FROM (
    SELECT 1 FROM orders
    WHERE lease_epoch > 0 AND status NOT IN ('confirmed', 'failed')
      AND next_run_at < now() - make_interval(secs => %(patience_s)s)
      AND (lease_until IS NULL OR lease_until < now() - make_interval(secs => %(patience_s)s))
    LIMIT 1000
) AS stuck
"""
