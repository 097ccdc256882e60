"""A worker that is paused for longer than its leases is fenced when it resumes."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.fleet import EVERY_DEPLOYABLE, running_fleet
from support.stores import Databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

SETTINGS = {
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
    "QUEUE_MAX_CONCURRENCY": "20",
}
TAKEN_OVER = "SELECT count(*) AS count FROM orders WHERE lease_epoch > 1"
AT_STATUS = "SELECT count(*) AS count FROM orders WHERE status = %s"


def has_been_paused(databases: Databases, since: datetime, paused_s: float) -> bool:
    [row] = rows(databases.orders_url, "SELECT now() AS now")
    return bool((row["now"] - since).total_seconds() >= paused_s)


@pytest.mark.parametrize(
    ("status", "paused_s"), [(OrderStatus.ROUTING, 0), (OrderStatus.SUBMITTED, 60)]
)
def test_orders_of_a_paused_worker_are_taken_over_and_filled_once(
    databases: Databases, redis_url: str, tmp_path: Path, status: OrderStatus, paused_s: float
) -> None:
    """It resumes once another worker has ended its orders, and after at least `paused_s`."""
    trading = Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 20)
                following = asyncio.create_task(
                    trading.follow(engine, ids, clients=1, within_s=120)
                )
                async with asyncio.timeout(60):
                    while not rows(databases.orders_url, AT_STATUS, [status])[0]["count"]:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(fleet["order-worker"].pause)
                [row] = rows(databases.orders_url, "SELECT now() AS now")
                await asyncio.to_thread(fleet.start, ["order-worker#2"])
                await following
                async with asyncio.timeout(paused_s + 30):
                    while not has_been_paused(databases, row["now"], paused_s):
                        await asyncio.sleep(0.1)
                await asyncio.to_thread(fleet["order-worker"].resume)
                later_ids = await trading.place(engine, 20)
                await trading.follow(engine, later_ids, clients=1, within_s=60)

    asyncio.run(trade())

    assert rows(databases.orders_url, TAKEN_OVER)[0]["count"] > 0
    assert trading.violations(databases) == []


def test_a_second_worker_takes_over_the_orders_of_a_killed_worker(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()
    names = (*EVERY_DEPLOYABLE, "order-worker#2")

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS, names) as fleet:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 40)
                following = asyncio.create_task(
                    trading.follow(engine, ids, clients=1, within_s=120)
                )
                async with asyncio.timeout(60):
                    while not rows(databases.orders_url, AT_STATUS, ["submitted"])[0]["count"]:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(fleet["order-worker"].kill)
                await following

    asyncio.run(trade())

    assert trading.violations(databases) == []
