"""Measures the cost of a large backlog under the rate limit.

    make bench-backlog          (ten minutes; MINUTES=2 for a shorter run)

Exits with 1 when a waiting row was written, when more orders started than the limit allows, or when
the worker's memory grew by more than a tenth after its first minute.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import redis

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.hints import order_hint
from rq_slots.enqueue import enqueue
from support.evidence import rows
from support.fleet import Fleet, running_fleet
from support.redis_process import redis_process
from support.stores import (
    Databases,
    Stores,
    execute,
    fresh_databases,
    running_stores,
    stores_kind,
)

WAITING = 200_000
LIMIT = 100
LOAD = """
INSERT INTO orders (id, token_in, token_out, amount_in, slippage_tolerance, created_at)
SELECT gen_random_uuid(), 'SOL', 'USDC', 1, 0.5, now() - make_interval(secs => 100000 - n / 10.0)
FROM generate_series(1, 200000) AS n;
INSERT INTO order_events (order_id, seq, status, cause)
SELECT id, 1, 'pending', 'placed' FROM orders;
ANALYZE orders
"""
NOT_REWRITTEN = "SELECT count(*) AS count FROM orders WHERE lease_epoch = 0 AND xmin::text = %s"
FIGURES = """
SELECT count(*) FILTER (WHERE lease_epoch > 0) AS started,
       count(*) FILTER (WHERE status IN ('confirmed', 'failed')) AS ended
FROM orders
"""


def load(databases: Databases, client: redis.Redis) -> str:
    """Writes the backlog to both stores; returns the id of the transaction that wrote the rows."""
    execute(databases.orders_url, LOAD)
    orders = rows(databases.orders_url, "SELECT id, created_at FROM orders ORDER BY created_at")
    now = datetime.fromtimestamp(time.time(), UTC)
    for first in range(0, len(orders), 1_000):
        hints = [
            order_hint(OrderId(order["id"]), created_at=order["created_at"])
            for order in orders[first : first + 1_000]
        ]
        enqueue(client, hints, now=now)
    [loaded] = rows(databases.orders_url, "SELECT DISTINCT xmin::text AS xmin FROM orders")
    return str(loaded["xmin"])


def resident_mb(fleet: Fleet) -> float:
    process = fleet["order-worker"].process
    assert process is not None
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def measure(stores: Stores, directory: Path, *, minutes: int) -> int:
    with (
        redis_process(directory) as server,
        server.client() as client,
        fresh_databases(stores) as databases,
    ):
        loaded_by = load(databases, client)
        print(f"{WAITING} orders wait")
        with running_fleet(databases, server.url, directory, {}, ["order-worker"]) as fleet:
            memory = []
            for minute in range(1, minutes + 1):
                await asyncio.sleep(60)
                memory.append(resident_mb(fleet))
                redis_mb = client.info("memory")["used_memory"] / 1e6
                [figures] = rows(databases.orders_url, FIGURES)
                print(
                    f"minute {minute}: {figures['started']} started, {figures['ended']} ended,"
                    f" worker {memory[-1]:.1f} MB, Redis {redis_mb:.1f} MB",
                    flush=True,
                )
        [figures] = rows(databases.orders_url, FIGURES)
        not_rewritten = rows(databases.orders_url, NOT_REWRITTEN, [loaded_by])[0]["count"]
    rewritten = WAITING - figures["started"] - not_rewritten
    print(f"waiting rows that were written: {rewritten}")
    print(
        f"memory of the worker after the first minute: {memory[0]:.1f} MB,"
        f" at the end {memory[-1]:.1f} MB"
    )
    is_flat = memory[-1] <= memory[0] * 1.1
    return 0 if rewritten == 0 and figures["started"] <= LIMIT * (minutes + 1) and is_flat else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    minutes = parser.parse_args().minutes
    with (
        tempfile.TemporaryDirectory(prefix="order-engine-bench-") as directory,
        running_stores(stores_kind(), Path(directory)) as stores,
    ):
        return asyncio.run(measure(stores, Path(directory), minutes=minutes))


if __name__ == "__main__":
    sys.exit(main())
