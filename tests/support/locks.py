from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

import psycopg2

from order_engine.execution.domain.ids import OrderId
from support.evidence import rows

WAITING_FOR_LOCK = """
SELECT count(*) AS count FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@contextmanager
def locked_orders(url: str) -> Iterator[None]:
    """Locks the table of orders as a migration may lock it."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def locked_rows(url: str, order_ids: Iterable[OrderId]) -> Iterator[None]:
    """Locks these orders as a session that was left open does."""
    sql = "SELECT FROM orders WHERE id = ANY(%s::uuid[]) FOR UPDATE"
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql, [list(map(str, order_ids))])
        yield


def waiting_for_lock(url: str) -> int:
    return int(rows(url, WAITING_FOR_LOCK)[0]["count"])
