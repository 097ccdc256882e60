"""Collects the evidence of a run for the history checker."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras

from order_engine.client import StatusFrame
from order_engine.execution.domain.status import OrderStatus
from proof.history import (
    Acknowledged,
    ClientLog,
    Frame,
    History,
    LedgerEntry,
    RecordedEvent,
    RecordedIntent,
    RecordedOrder,
)
from support.stores import Databases


def evidence(
    databases: Databases,
    *,
    acknowledged: Iterable[UUID],
    logs: Mapping[tuple[str, UUID], Sequence[StatusFrame]],
) -> History:
    """`logs` holds the frames that each named client received for each order."""
    orders = databases.orders_url
    return History(
        acknowledged=tuple(Acknowledged(order_id=order_id) for order_id in acknowledged),
        orders=tuple(
            RecordedOrder(
                order_id=row["id"],
                status=OrderStatus(row["status"]),
                seq=row["seq"],
                tx_hash=row["tx_hash"],
            )
            for row in rows(orders, "SELECT id, status, seq, tx_hash FROM orders")
        ),
        events=tuple(
            RecordedEvent(
                order_id=row["order_id"], seq=row["seq"], status=OrderStatus(row["status"])
            )
            for row in rows(orders, "SELECT order_id, seq, status FROM order_events")
        ),
        intents=tuple(
            RecordedIntent(**row)
            for row in rows(orders, "SELECT order_id, n, signature, state FROM execution_intents")
        ),
        ledger=tuple(
            LedgerEntry(**row)
            for row in rows(
                databases.chain_url, "SELECT order_id, signature, outcome FROM chain.transactions"
            )
        ),
        clients=tuple(
            ClientLog(
                client=client,
                order_id=order_id,
                frames=tuple(Frame(seq=frame.seq, status=frame.status) for frame in frames),
            )
            for (client, order_id), frames in logs.items()
        ),
    )


def rows(url: str, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    connection = psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)
    try:
        psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]
    finally:
        connection.close()
