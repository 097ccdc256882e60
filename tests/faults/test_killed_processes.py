"""Killing any process with SIGKILL only delays orders and frames (P7)."""

import asyncio
from pathlib import Path

import pytest

from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.fleet import DISPATCHERS, Fleet, running_fleet
from support.stores import Databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

UNLIMITED = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
EVERY_ORDER_S = 120


def count_orders(fleet: Fleet, *statuses: OrderStatus) -> int:
    [row] = rows(
        fleet.databases.orders_url,
        "SELECT count(*) AS count FROM orders WHERE status = ANY(%s)",
        [list(statuses)],
    )
    return int(row["count"])


async def until_any_order_is(fleet: Fleet, *statuses: OrderStatus) -> None:
    """Returns once at least one order has one of these statuses."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(count_orders, fleet, *statuses):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "status", [OrderStatus.ROUTING, OrderStatus.SUBMITTED], ids=lambda status: f"in_{status}"
)
def test_orders_of_a_killed_worker_continue_and_none_is_filled_twice(
    databases: Databases, redis_url: str, tmp_path: Path, status: OrderStatus
) -> None:
    trading = Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, UNLIMITED) as fleet:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 20)
                following = asyncio.create_task(
                    trading.follow(engine, ids, clients=2, within_s=EVERY_ORDER_S)
                )
                await until_any_order_is(fleet, status)
                await asyncio.to_thread(fleet["order-worker"].kill)
                await asyncio.to_thread(fleet.start, ["order-worker"])
                await following

    asyncio.run(trade())

    assert trading.violations(databases) == []


def test_killing_every_process_once_loses_nothing(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()
    names = ["order-worker", *DISPATCHERS, "ws-gateway", "gateway"]

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, UNLIMITED) as fleet:
            async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
                for name in names:
                    ids = await trading.place(engine, 5)
                    tasks.create_task(
                        trading.follow(engine, ids, clients=2, within_s=EVERY_ORDER_S)
                    )
                    await until_any_order_is(fleet, OrderStatus.ROUTING, OrderStatus.SUBMITTED)
                    await asyncio.to_thread(fleet[name].kill)
                    await asyncio.to_thread(fleet.start, [name])

    asyncio.run(trade())

    assert len(trading.acknowledged) == 5 * len(names)
    assert trading.violations(databases) == []
