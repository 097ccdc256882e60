"""Venues that fail, do not answer, never land and reject: no order is stuck, none filled twice."""

import asyncio
from pathlib import Path

import pytest

from support.evidence import rows
from support.fleet import INSTANT, running_fleet
from support.stores import Databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

FAULTY = {
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
    "QUEUE_MAX_CONCURRENCY": "50",
    "VENUE_CALL_FAILURE_SHARE": "0.2",
    "VENUE_LOST_REPLY_SHARE": "0.2",
    "VENUE_NEVER_LANDS_SHARE": "0.3",
    "VENUE_REJECTION_SHARE": "0.1",
    "VENUE_VALIDITY_S": "2",
    "ORDER_BACKOFF_S": "0.1",
}
ENDS = "SELECT status, count(*) AS count FROM orders GROUP BY status"
DEAD = "SELECT count(*) AS count FROM execution_intents WHERE state = 'dead'"


def test_every_order_ends_once_with_venues_that_do_their_worst(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, INSTANT | FAULTY) as fleet:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 100)
                await trading.follow(engine, ids, clients=1, within_s=240)

    asyncio.run(trade())
    ends = {row["status"]: row["count"] for row in rows(databases.orders_url, ENDS)}

    assert trading.violations(databases) == []
    assert ends["confirmed"] > 0
    assert ends["failed"] > 0
    assert rows(databases.orders_url, DEAD)[0]["count"] > 0
