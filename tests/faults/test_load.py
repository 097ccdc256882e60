"""Many concurrent orders, and the limits on their execution."""

import asyncio
from pathlib import Path

import pytest
import redis

from order_engine.order_worker.main import WINDOW_KEY
from support.evidence import rows
from support.fleet import EVERY_DEPLOYABLE, INSTANT, Fleet, running_fleet
from support.rq import scores
from support.stores import Databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(400)]

UNLIMITED = {
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
    "QUEUE_MAX_CONCURRENCY": "50",
}
SECOND_COPIES = tuple(f"{name}#2" for name in EVERY_DEPLOYABLE)
ORDERS = 5_000
LIMIT = 100
SLOTS = 10

UNFINISHED = "SELECT count(*) AS count FROM orders WHERE status NOT IN ('confirmed', 'failed')"
LEASED = """
SELECT split_part(lease_owner, '/', 1) AS worker, count(*) AS count
FROM orders
WHERE lease_owner IS NOT NULL AND status NOT IN ('confirmed', 'failed')
GROUP BY 1
"""


@pytest.mark.parametrize(
    "names", [EVERY_DEPLOYABLE, EVERY_DEPLOYABLE + SECOND_COPIES], ids=["one copy", "two copies"]
)
def test_five_thousand_orders_break_no_promise(
    databases: Databases, redis_url: str, tmp_path: Path, names: tuple[str, ...]
) -> None:
    trading = Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, INSTANT | UNLIMITED, names) as fleet:
            async with fleet.client() as engine:
                for _ in range(ORDERS // 100):
                    await trading.place(engine, 100)
                await trading.follow(engine, trading.acknowledged[-200:], clients=1, within_s=200)
            async with asyncio.timeout(200):
                while rows(databases.orders_url, UNFINISHED)[0]["count"]:
                    await asyncio.sleep(0.2)

    asyncio.run(trade())

    assert len(trading.acknowledged) == ORDERS
    assert trading.violations(databases) == []


def test_two_workers_start_no_more_orders_per_minute_than_the_limit(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()
    names = (*EVERY_DEPLOYABLE, "order-worker#2")
    starts: dict[bytes, float] = {}
    most_leased: dict[str, int] = {}

    def sample(client: redis.Redis) -> None:
        starts.update(scores(client, WINDOW_KEY))
        for row in rows(databases.orders_url, LEASED):
            most_leased[row["worker"]] = max(most_leased.get(row["worker"], 0), row["count"])

    async def watch(fleet: Fleet) -> None:
        with redis.Redis.from_url(redis_url) as client:
            while rows(databases.orders_url, UNFINISHED)[0]["count"]:
                await asyncio.to_thread(sample, client)
                await asyncio.sleep(0.1)

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, {}, names) as fleet:
            async with fleet.client() as engine, asyncio.timeout(300):
                await trading.place(engine, LIMIT + 60)
                await watch(fleet)

    asyncio.run(trade())
    start_times = sorted(starts.values())
    most_per_minute = max(
        sum(first <= start < first + 60 for start in start_times) for first in start_times
    )

    assert len(start_times) == LIMIT + 60
    assert most_per_minute <= LIMIT
    assert max(most_leased.values()) <= SLOTS
    assert trading.violations(databases) == []
