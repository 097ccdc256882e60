"""Venues that fail, lose replies, never land and reject: every order ends, and none is filled twice.

One executor in this process, on real PostgreSQL: what a fleet adds to it is tested elsewhere.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import FINAL
from order_engine.execution.settings import OrderWorkerSettings
from order_engine.order_worker.wiring import Runtime, runtime
from proof.history import violations
from support.builders import a_new_order
from support.evidence import evidence, rows
from support.stores import Databases

ORDERS = 40
AT_ONCE = 10
FAULTY: dict[str, Any] = {
    "venue_quote_latency_s": 0,
    "venue_quote_jitter_s": 0,
    "venue_execution_min_s": 0,
    "venue_execution_max_s": 0.1,
    "venue_poll_s": 0.01,
    "venue_call_failure_share": 0.2,
    "venue_lost_reply_share": 0.2,
    "venue_never_lands_share": 0.3,
    "venue_rejection_share": 0.1,
    "venue_validity_s": 0.5,
    "order_backoff_s": 0.002,  # it doubles: even 14 failures in a row end within the deadline
}
ENDS = "SELECT status, count(*) AS count FROM orders GROUP BY status"
DEAD = "SELECT count(*) AS count FROM execution_intents WHERE state = 'dead'"


async def execute_to_the_end(running: Runtime, order_id: OrderId, slots: asyncio.Semaphore) -> None:
    """Executes the order again each time that it is due, until it is final."""
    account_id = a_new_order().account_id
    async with slots:
        while True:
            await running.executor.execute(str(order_id))
            order = await running.orders.get(order_id, account_id=account_id)
            assert order is not None
            if order.status in FINAL:
                return
            await asyncio.sleep(0.02)


def test_every_order_ends_once_however_its_venues_fail(
    databases: Databases, redis_url: str
) -> None:
    settings = OrderWorkerSettings(
        database_url=databases.orders_url,
        chain_database_url=databases.chain_url,
        redis_url=redis_url,
        **FAULTY,
    )
    ids = [OrderId(uuid.uuid4()) for _ in range(ORDERS)]

    async def work() -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        async with (
            runtime(settings, now=lambda: datetime.now(UTC)) as running,  # noqa: TID251
            asyncio.timeout(100),
        ):
            await asyncio.gather(*(running.orders.place(a_new_order(id=id_)) for id_ in ids))
            await asyncio.gather(*(execute_to_the_end(running, id_, slots) for id_ in ids))

    asyncio.run(work())
    ends = {row["status"]: row["count"] for row in rows(databases.orders_url, ENDS)}

    assert violations(evidence(databases, acknowledged=ids, logs={})) == []
    assert ends["confirmed"] > 0
    assert ends["failed"] > 0
    assert rows(databases.orders_url, DEAD)[0]["count"] > 0
