"""PgBouncer in between: the engine works with its defaults, and its time limits are in force."""

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from prometheus_client import REGISTRY
from psycopg2 import errors
from psycopg2.extensions import parse_dsn

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.migrations.main import is_migrated, migrate
from order_engine.execution.orders.claims import RENEW, Claimer, lease_rows
from order_engine.execution.orders.reads import Page
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.connections import connect
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_new_order
from support.cli import order_engine
from support.driven_orders import events_of, place_order
from support.evidence import rows
from support.fleet import INSTANT, running_fleet
from support.locks import locked_rows
from support.pooler import pooled
from support.stores import Databases, Stores, database, execute
from support.trading import Trading
from support.waiting import wait_until

S = OrderStatus

TRANSACTION = {"pool_mode": "transaction"}
IGNORED = "options,extra_float_digits"
POOLERS: Mapping[str, Mapping[str, str]] = {
    "transaction": TRANSACTION,
    "transaction, options ignored": {**TRANSACTION, "ignore_startup_parameters": IGNORED},
    "transaction, one session for all": {**TRANSACTION, "default_pool_size": "1"},
    "transaction, sessions reset": {**TRANSACTION, "server_reset_query_always": "1"},
    "transaction, sessions in turn": {**TRANSACTION, "server_round_robin": "1"},
    "session": {"pool_mode": "session"},
    "session, options ignored": {"pool_mode": "session", "ignore_startup_parameters": IGNORED},
    "statement": {"pool_mode": "statement"},
}
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
SHOW = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in LIMITS)
IN_FORCE = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
}
UNLIMITED = dict.fromkeys(LIMITS, "0")


@pytest.fixture(params=list(POOLERS.values()), ids=list(POOLERS))
def url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    with pooled(databases.orders_url, request.param) as url:
        yield url


@pytest.fixture
def transaction_url(databases: Databases) -> Iterator[str]:
    with pooled(databases.orders_url) as url:
        yield url


def shown_to_others(url: str) -> Mapping[str, str]:
    """The limits of another client of the pooler."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SHOW)
            [shown] = cursor.fetchall()
    return dict(zip(LIMITS, shown, strict=True))


def orders_at(url: str) -> Orders:
    return Orders(
        GroupCommit(url, application_name="test"),
        Reader(url, application_name="test", connections_max=2),
        claimer=Claimer(name="test", lease_s=10),
    )


def test_an_order_is_executed_and_read(url: str) -> None:
    async def work() -> None:
        with closing(orders_at(url)) as orders:
            order = await place_order(orders)
            await order.advance(to=S.CONFIRMED)
            read = await orders.get(order.order_id, account_id=order.claimed.order.account_id)
            page = await orders.page(Page(account_id=order.claimed.order.account_id, most=5))

            assert read is not None
            assert read.status is S.CONFIRMED
            assert [each.id for each in page] == [order.order_id]
            assert len(await events_of(orders, order.order_id)) == 5

    asyncio.run(work())


def test_the_time_limits_of_a_read_are_in_force_and_reach_nobody_else(url: str) -> None:
    async def work() -> Sequence[Mapping[str, str]]:
        with closing(Reader(url, application_name="test", connections_max=1)) as reader:
            return await reader.rows(SHOW, {})

    assert asyncio.run(work()) == [IN_FORCE]
    assert shown_to_others(url) == UNLIMITED


def test_the_time_limits_of_a_thread_are_in_force_and_reach_nobody_else(url: str) -> None:
    with closing(connect(url, application_name="test")) as connection:
        with connection.cursor() as cursor:
            cursor.execute(SHOW)
            shown = cursor.fetchall()
        leases = json.dumps(lease_rows([(OrderId(uuid.uuid4()), 1)], lease_s=10))
        with connection.cursor() as cursor:
            cursor.execute(RENEW, {"rows": leases})

    assert shown == [tuple(IN_FORCE.values())]
    assert shown_to_others(url) == UNLIMITED


def test_a_locked_row_does_not_delay_other_writes(url: str, databases: Databases) -> None:
    async def work() -> None:
        with closing(orders_at(url)) as orders:
            order = await place_order(orders)
            before = locks_met()
            with locked_rows(databases.orders_url, [order.order_id]):
                moving = asyncio.create_task(order.advance(to=S.CONFIRMED))
                await asyncio.to_thread(wait_until, lambda: locks_met() > before, timeout_s=20)
                other = await place_order(orders)
            await moving

            assert await events_of(orders, other.order_id)

    asyncio.run(work())


def locks_met() -> float:
    labels = {"statement": "move", "reason": "locked"}
    return REGISTRY.get_sample_value("order_engine_commit_repeats_total", labels) or 0.0


def test_a_slow_read_ends_in_time(transaction_url: str) -> None:
    async def work() -> None:
        with (
            closing(Reader(transaction_url, application_name="test", connections_max=1)) as reader,
            pytest.raises(StoreUnavailable, match="statement timeout"),
        ):
            await reader.rows("SELECT pg_sleep(30)", {})

    asyncio.run(work())


def test_a_slow_statement_of_a_thread_ends_in_time(transaction_url: str) -> None:
    with (
        closing(connect(transaction_url, application_name="test")) as connection,
        connection.cursor() as cursor,
        pytest.raises(errors.QueryCanceled, match="statement timeout"),
    ):
        cursor.execute("SELECT pg_sleep(30)")


@pytest.mark.parametrize("options", list(POOLERS.values())[:-1], ids=list(POOLERS)[:-1])
def test_migrations_pass_and_count(options: Mapping[str, str], stores: Stores) -> None:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    execute(stores.postgres_url, f"CREATE DATABASE {name}")
    with pooled(database(stores.postgres_url, name), options) as url:
        for history in ("orders", "chain"):
            assert not is_migrated(url, history=history)
            migrate(url, history=history)

            assert is_migrated(url, history=history)


def test_old_orders_are_pruned(transaction_url: str, tmp_path: Path) -> None:
    async def work() -> ClaimedOrder:
        with closing(orders_at(transaction_url)) as orders:
            order = await place_order(orders)
            await order.advance(to=S.CONFIRMED)
            return order.claimed

    asyncio.run(work())
    execute(transaction_url, "UPDATE orders SET updated_at = now() - interval '100 days'")

    pruned = order_engine(transaction_url, "prune", "--older-than-days", "90")

    assert pruned.returncode == 0, pruned.stderr
    assert rows(transaction_url, "SELECT count(*) AS n FROM orders") == [{"n": 0}]


def test_a_search_path_in_the_url_counts_through_the_pooler(transaction_url: str) -> None:
    with psycopg2.connect(transaction_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA tenant")
    connection.close()
    url = f"{transaction_url}?options=-csearch_path%3Dtenant"
    migrate(url, history="orders")

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            await orders.place(a_new_order())

    asyncio.run(work())

    assert rows(transaction_url, "SELECT count(*) AS n FROM tenant.orders") == [{"n": 1}]


@pytest.mark.fleet
def test_a_whole_fleet_works_behind_a_pooler(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()
    chain = parse_dsn(databases.chain_url)["dbname"]
    with pooled(databases.orders_url) as orders_url:
        behind = Databases(orders_url=orders_url, chain_url=database(orders_url, chain))
        with running_fleet(behind, redis_url, tmp_path, INSTANT) as fleet:

            async def trade() -> None:
                async with fleet.client() as engine:
                    placed = await trading.place(engine, 20)
                    await trading.follow(engine, placed, clients=1, within_s=60)

            asyncio.run(trade())

        assert trading.violations(behind) == []
