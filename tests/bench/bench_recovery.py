"""Measures how long a fault delays orders, on a fleet of real processes.

    make bench-recovery

The limits are 12 s for an order whose worker was killed, and 3 s for waiting orders whose hints
were lost. Exits with 1 when a limit is exceeded, when an order did not end while Redis was frozen,
or when a promise was broken. The results depend on the machine and its load.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.evidence import rows
from support.fleet import EVERY_DEPLOYABLE, INSTANT, Fleet, running_fleet
from support.redis_process import RedisProcess, redis_process
from support.stores import Databases, Stores, fresh_databases, running_stores, stores_kind
from support.trading import Trading

UNLIMITED = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
SLOW = {  # orders are still in flight when the second worker has started
    "QUEUE_MAX_CONCURRENCY": "20",
    "VENUE_EXECUTION_MIN_S": "10",
    "VENUE_EXECUTION_MAX_S": "12",
}
TIMEOUT_S = 60
TAKEN_OVER_WITHIN_S = 12.0
STARTED_WITHIN_S = 3.0
FROZEN_S = 30.0
WAITING = 5_000
CLAIMED_MAX = 20  # twice the slots: orders claimed before the flush do not count

IN_FLIGHT = """
SELECT id, lease_epoch FROM orders
WHERE lease_owner IS NOT NULL AND status NOT IN ('confirmed', 'failed')
"""
EPOCHS = "SELECT id, lease_epoch FROM orders WHERE id = ANY(%s::uuid[])"
STARTED = "SELECT count(*) AS count FROM orders WHERE started_at IS NOT NULL"
UNFINISHED = "SELECT count(*) AS count FROM orders WHERE status NOT IN ('confirmed', 'failed')"


@contextmanager
def a_fleet(
    stores: Stores, server: RedisProcess, settings: dict[str, str], names: tuple[str, ...]
) -> Iterator[tuple[Fleet, Databases]]:
    with server.client() as client:
        client.flushall()
    with (
        tempfile.TemporaryDirectory() as directory,
        fresh_databases(stores) as databases,
        running_fleet(databases, server.url, Path(directory), UNLIMITED | settings, names) as fleet,
    ):
        yield fleet, databases


def count(databases: Databases, sql: str) -> int:
    return int(rows(databases.orders_url, sql)[0]["count"])


async def until_all_ended(databases: Databases) -> None:
    async with asyncio.timeout(300):
        while count(databases, UNFINISHED):
            await asyncio.sleep(0.1)


async def killed_worker(stores: Stores, server: RedisProcess) -> tuple[int, float, int]:
    """Orders that were in flight, seconds until the last of them was taken over, violations."""
    trading = Trading()
    with a_fleet(stores, server, SLOW, EVERY_DEPLOYABLE) as (fleet, databases):
        async with fleet.client() as engine, asyncio.timeout(TIMEOUT_S):
            await trading.place(engine, 20)
            while len(in_flight := rows(databases.orders_url, IN_FLIGHT)) < 20:
                await asyncio.sleep(0.01)
        fleet.start(["order-worker#2"])  # only now, so that the first worker has claimed all twenty
        fleet["order-worker"].kill()
        killed_at = time.monotonic()
        epochs = {row["id"]: row["lease_epoch"] for row in in_flight}
        taken_s: dict[object, float] = {}
        async with asyncio.timeout(TIMEOUT_S):
            while len(taken_s) < len(epochs):
                for row in rows(databases.orders_url, EPOCHS, [[str(id_) for id_ in epochs]]):
                    if row["lease_epoch"] > epochs[row["id"]]:
                        taken_s.setdefault(row["id"], time.monotonic() - killed_at)
                await asyncio.sleep(0.05)
        await until_all_ended(databases)
        return len(epochs), max(taken_s.values()), len(trading.violations(databases))


async def flushed_hints(stores: Stores, server: RedisProcess) -> tuple[float, int]:
    """Seconds from FLUSHALL until orders started that were not claimed before it; violations."""
    trading = Trading()
    with a_fleet(stores, server, INSTANT, EVERY_DEPLOYABLE) as (fleet, databases):
        fleet["order-worker"].pause()
        async with fleet.client() as engine:
            for _ in range(WAITING // 100):
                await trading.place(engine, 100)
        with server.client() as client:
            client.flushall()
        fleet["order-worker"].resume()
        flushed_at = time.monotonic()
        before = count(databases, STARTED)
        async with asyncio.timeout(TIMEOUT_S):
            while count(databases, STARTED) <= before + CLAIMED_MAX:
                await asyncio.sleep(0.02)
        started_s = time.monotonic() - flushed_at
        await until_all_ended(databases)
        return started_s, len(trading.violations(databases))


async def frozen_redis(stores: Stores, server: RedisProcess) -> tuple[int, int, float, int]:
    """Orders placed and ended while Redis was frozen, the slowest in seconds, violations."""
    trading = Trading()
    slowest_s = 0.0
    with a_fleet(stores, server, INSTANT, EVERY_DEPLOYABLE) as (fleet, databases):
        async with fleet.client() as engine:
            server.freeze()
            frozen_at = time.monotonic()
            while time.monotonic() - frozen_at < FROZEN_S:
                placed_at = time.monotonic()
                ids = await trading.place(engine, 5)
                await trading.follow(engine, ids, clients=1, within_s=60)
                slowest_s = max(slowest_s, time.monotonic() - placed_at)
            ended = len(trading.acknowledged) - count(databases, UNFINISHED)
            server.thaw()
        return len(trading.acknowledged), ended, slowest_s, len(trading.violations(databases))


async def measure(stores: Stores, server: RedisProcess) -> int:
    in_flight, taken_s, broken_by_kill = await killed_worker(stores, server)
    print(
        f"worker killed with {in_flight} in flight: the last was taken over after {taken_s:.1f} s"
    )
    started_s, broken_by_flush = await flushed_hints(stores, server)
    print(f"FLUSHALL with {WAITING} waiting: orders started again after {started_s:.1f} s")
    placed, ended, slowest_s, broken_by_freeze = await frozen_redis(stores, server)
    print(
        f"Redis frozen for {FROZEN_S:g} s: {ended} of {placed} orders ended meanwhile,"
        f" with all frames; the slowest five took {slowest_s:.1f} s"
    )
    broken = broken_by_kill + broken_by_flush + broken_by_freeze
    print(f"violations of P1 to P3: {broken}")
    in_time = taken_s <= TAKEN_OVER_WITHIN_S and started_s <= STARTED_WITHIN_S
    return 0 if in_time and ended == placed and not broken else 1


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="order-engine-bench-") as directory,
        running_stores(stores_kind(), Path(directory)) as stores,
        redis_process(Path(directory)) as server,
    ):
        return asyncio.run(measure(stores, server))


if __name__ == "__main__":
    sys.exit(main())
