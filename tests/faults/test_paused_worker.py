"""A worker that sleeps through its leases wakes up fenced."""

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


def has_slept(databases: Databases, since: datetime, slept_s: float) -> bool:
    [row] = rows(databases.orders_url, "SELECT now() AS now")
    return bool((row["now"] - since).total_seconds() >= slept_s)


@pytest.mark.parametrize(
    ("status", "asleep_s"), [(OrderStatus.ROUTING, 0), (OrderStatus.SUBMITTED, 60)]
)
def test_orders_of_a_paused_worker_are_taken_over_and_filled_once(
    databases: Databases, redis_url: str, tmp_path: Path, status: OrderStatus, asleep_s: float
) -> None:
    """It wakes when its orders have ended in other hands, and not before `asleep_s`."""
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
                [paused] = rows(databases.orders_url, "SELECT now() AS now")
                await asyncio.to_thread(fleet.start, ["order-worker#2"])
                await following
                async with asyncio.timeout(asleep_s + 30):
                    while not has_slept(databases, paused["now"], asleep_s):
                        await asyncio.sleep(0.1)
                await asyncio.to_thread(fleet["order-worker"].resume)
                more = await trading.place(engine, 20)
                await trading.follow(engine, more, clients=1, within_s=60)

    asyncio.run(trade())

    assert rows(databases.orders_url, TAKEN_OVER)[0]["count"] > 0
    assert trading.violations(databases) == []


def test_a_second_copy_of_every_process_changes_nothing_when_the_first_is_killed(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()
    copies = (*EVERY_DEPLOYABLE, "order-worker#2")

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS, copies) as fleet:
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
