"""The oldest PostgreSQL and Redis that the engine supports carry it; older ones are refused."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fleet import INSTANT, Fleet, running_fleet
from support.old_servers import POSTGRES_13, POSTGRES_14, REDIS_6_2, old_postgres, old_redis
from support.stores import Databases, database, execute
from support.trading import Trading

pytestmark = pytest.mark.fleet

MIGRATE_TIMEOUT_S = 60


@pytest.fixture
def directory() -> Iterator[Path]:
    """Unlike those of pytest, open to the account as which PostgreSQL runs."""
    with tempfile.TemporaryDirectory(prefix="order-engine-tests-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def test_the_oldest_servers_carry_orders_to_their_end(directory: Path, tmp_path: Path) -> None:
    with (
        old_postgres(POSTGRES_14, directory) as postgres_url,
        old_redis(REDIS_6_2, directory) as redis_url,
    ):
        databases = Databases(
            orders_url=database(postgres_url, "orders"), chain_url=database(postgres_url, "chain")
        )
        for name in ("orders", "chain"):
            execute(postgres_url, f"CREATE DATABASE {name}")
        migrated = migrate(databases)
        assert migrated.returncode == 0, migrated.stderr
        with running_fleet(databases, redis_url, tmp_path, INSTANT) as fleet:
            trading = asyncio.run(twenty_orders(fleet))

            violations = trading.violations(databases)

        assert violations == []
        assert "redis call failed" not in (tmp_path / "order-worker.log").read_text()


def test_a_postgres_that_is_too_old_is_refused_in_one_line(directory: Path) -> None:
    with old_postgres(POSTGRES_13, directory) as url:
        refused = migrate(Databases(orders_url=url, chain_url=url))

    assert refused.returncode == 1
    assert refused.stderr == (
        "cannot migrate orders: PostgreSQL 13.6 is too old: 14 or later is required\n"
    )


async def twenty_orders(fleet: Fleet) -> Trading:
    trading = Trading()
    async with fleet.client() as engine:
        ids = await trading.place(engine, 20)
        await trading.follow(engine, ids, clients=1, within_s=60)
    return trading


def migrate(databases: Databases) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "migrate")],
        env={
            "PATH": os.environ["PATH"],  # noqa: TID251 - not a setting of the engine
            "DATABASE_URL": databases.orders_url,
            "CHAIN_DATABASE_URL": databases.chain_url,
        },
        capture_output=True,
        text=True,
        timeout=MIGRATE_TIMEOUT_S,
        check=False,
    )
