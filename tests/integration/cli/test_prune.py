"""`order-engine prune`: what it removes, what it keeps, and what becomes of a failure."""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.pruning import prune
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.connections import connect
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.cli import order_engine
from support.damaged_rows import TEXT_THAT_IS_NOT_UTF8, damage
from support.driven_orders import place_order
from support.evidence import rows
from support.stores import Databases, execute

TABLES = ("orders", "order_events", "execution_intents")
AGED = "UPDATE orders SET updated_at = now() - interval '100 days'"


@pytest.fixture
def orders(databases: Databases) -> Iterator[Orders]:
    commits = GroupCommit(databases.orders_url, application_name="test")
    reader = Reader(databases.orders_url, application_name="test", connections_max=1)
    orders = Orders(commits, reader, claimer=Claimer(name="test", lease_s=10))
    yield orders
    orders.close()


def place(orders: Orders, count: int, *, to: OrderStatus) -> None:
    async def work() -> None:
        for _ in range(count):
            await (await place_order(orders)).advance(to=to)

    asyncio.run(work())


def prune_command(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return order_engine(url, "prune", *arguments)


def counts(databases: Databases) -> dict[str, int]:
    return {
        table: rows(databases.orders_url, f"SELECT count(*) AS n FROM {table}")[0]["n"]  # noqa: S608
        for table in TABLES
    }


def test_only_final_orders_without_a_recent_change_are_removed(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    place(orders, 5, to=OrderStatus.CONFIRMED)
    place(orders, 2, to=OrderStatus.SUBMITTED)
    execute(databases.orders_url, AGED)
    place(orders, 1, to=OrderStatus.CONFIRMED)
    archive = tmp_path / "orders.jsonl"

    done = prune_command(databases.orders_url, "--batch=2", f"--archive={archive}")

    assert (done.returncode, done.stdout) == (0, "5\n")
    left = [row["status"] for row in rows(databases.orders_url, "SELECT status FROM orders")]
    assert sorted(left) == ["confirmed", "submitted", "submitted"]
    assert counts(databases) == {"orders": 3, "order_events": 4 + 4 + 5, "execution_intents": 3}
    archived = [json.loads(line) for line in archive.read_text().splitlines()]
    assert len({each["order"]["id"] for each in archived}) == 5
    assert all([e["seq"] for e in each["events"]] == [1, 2, 3, 4, 5] for each in archived)
    assert all(len(each["intents"]) == 1 for each in archived)
    assert prune_command(databases.orders_url).stdout == "0\n"


def test_an_order_that_cannot_be_read_is_archived_with_its_bytes(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    place(orders, 2, to=OrderStatus.CONFIRMED)
    execute(databases.orders_url, AGED)
    bad = rows(databases.orders_url, "SELECT id FROM orders")[0]["id"]
    damage(databases.orders_url, TEXT_THAT_IS_NOT_UTF8.format(bad))
    archive = tmp_path / "orders.jsonl"

    done = prune_command(databases.orders_url, f"--archive={archive}")

    assert (done.returncode, done.stdout) == (0, "2\n")
    assert archive.read_bytes().count(b'"token_in": "\xff"') == 1


def test_orders_that_could_not_be_archived_stay(databases: Databases, orders: Orders) -> None:
    place(orders, 3, to=OrderStatus.CONFIRMED)
    execute(databases.orders_url, AGED)
    before = counts(databases)

    failed = prune_command(databases.orders_url, "--archive=/dev/full")

    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert counts(databases) == before


def test_batches_before_one_that_fails_stay_removed(databases: Databases, orders: Orders) -> None:
    place(orders, 3, to=OrderStatus.CONFIRMED)
    execute(databases.orders_url, AGED)
    batches: list[int] = []

    def fail_second(batch: Sequence[bytes]) -> None:
        batches.append(len(batch))
        if len(batches) == 2:
            raise OSError("as requested")

    with closing(connect(databases.orders_url, application_name="test")) as connection:
        connection.autocommit = False
        with pytest.raises(OSError, match="as requested"):
            prune(connection, days=90, batch=2, before_commit=fail_second)

    assert batches == [2, 1]
    assert counts(databases)["orders"] == 1


def test_a_database_that_is_away_is_one_line() -> None:
    failed = prune_command("postgresql://nobody@127.0.0.1:1/none")

    assert failed.returncode == 1
    assert failed.stderr.count("\n") <= 2
    assert "Traceback" not in failed.stderr
