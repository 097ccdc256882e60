"""Removes orders that are final and old, so that the tables do not grow for ever."""

from collections.abc import Callable, Sequence
from contextlib import closing

from order_engine.execution.stores.connections import Connection

# One statement per batch: the rows of an order leave together, or stay together.
PRUNE = """
WITH old AS (
    SELECT id FROM orders
    WHERE status IN ('confirmed', 'failed')
      AND updated_at < now() - make_interval(days => %(days)s)
    ORDER BY updated_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
), events AS (
    DELETE FROM order_events e USING old WHERE e.order_id = old.id RETURNING e.*
), attempts AS (
    DELETE FROM order_attempts a USING old WHERE a.order_id = old.id RETURNING a.*
), intents AS (
    DELETE FROM execution_intents i USING old WHERE i.order_id = old.id RETURNING i.*
), gone AS (
    DELETE FROM orders o USING old WHERE o.id = old.id RETURNING o.*
), events_of AS (
    SELECT order_id, jsonb_agg(to_jsonb(e) ORDER BY e.seq) AS rows FROM events e GROUP BY order_id
), attempts_of AS (
    SELECT order_id, jsonb_agg(to_jsonb(a) ORDER BY a.n) AS rows FROM attempts a GROUP BY order_id
), intents_of AS (
    SELECT order_id, jsonb_agg(to_jsonb(i) ORDER BY i.n) AS rows FROM intents i GROUP BY order_id
)
SELECT textsend(jsonb_build_object(
    'order', to_jsonb(g), 'events', coalesce(e.rows, '[]'),
    'attempts', coalesce(a.rows, '[]'), 'intents', coalesce(i.rows, '[]'))::text)
FROM gone g
LEFT JOIN events_of e ON e.order_id = g.id
LEFT JOIN attempts_of a ON a.order_id = g.id
LEFT JOIN intents_of i ON i.order_id = g.id
ORDER BY g.updated_at, g.id
"""


def prune(
    connection: Connection,
    *,
    days: int,
    batch: int,
    before_commit: Callable[[Sequence[bytes]], object],
) -> int:
    """Removes final orders without a change for `days`, `batch` in a transaction; how many.

    `before_commit` gets the orders of each batch with their events, attempts and intents: JSON in
    UTF-8, or with the bytes that a damaged row has. When it raises, the batch stays. Raises
    psycopg2.Error.
    """
    removed = 0
    while True:
        with connection, closing(connection.cursor()) as cursor:
            cursor.execute(PRUNE, {"days": days, "most": batch})
            orders = [bytes(order) for (order,) in cursor.fetchall()]
            if not orders:
                return removed
            before_commit(orders)
        removed += len(orders)
