"""Sessions do not depend on what a role, a database, the environment or a URL has set."""

import asyncio
import uuid
from contextlib import closing

import pytest
from psycopg2.extensions import parse_dsn

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.migrations.main import is_migrated, migrate
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.reads import Page
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_new_order
from support.driven_orders import events_of, place_order
from support.evidence import rows
from support.stores import Databases, Stores, database, execute

OF_A_DATABASE = (
    "client_encoding = 'LATIN1'",
    "search_path = nowhere",
    "datestyle = 'SQL, DMY'",
    "timezone = 'Asia/Kathmandu'",
    "intervalstyle = 'iso_8601'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "standard_conforming_strings = off",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "statement_timeout = 200",
    "idle_session_timeout = 200",
    "enable_indexscan = off",
)
AWKWARD = """x","account_id":"other\\\"','\\'||'"""  # what a wrong quotation would read otherwise
WHOSE = {"database": 'DATABASE "{}"', "role": 'ROLE CURRENT_USER IN DATABASE "{}"'}
ENVIRONMENT = {
    "PGOPTIONS": "-c search_path=nowhere -c statement_timeout=200",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Asia/Kathmandu",
    "PGDATESTYLE": "SQL, DMY",
    "PGSERVICE": "nowhere",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGTARGETSESSIONATTRS": "standby",
}


def carries_an_order(url: str) -> None:
    async def work() -> None:
        orders = Orders(
            GroupCommit(url, application_name="test"),
            Reader(url, application_name="test", connections_max=2),
            claimer=Claimer(name="test", lease_s=10),
        )
        with closing(orders):
            order = await place_order(orders)
            await order.advance(to=OrderStatus.CONFIRMED)
            awkward = a_new_order(id=OrderId(uuid.uuid4()), idempotency_key=AWKWARD)
            await orders.place(awkward)
            account_id = order.claimed.order.account_id
            [read, executed] = await orders.page(Page(account_id=account_id, most=5))

            assert read.idempotency_key == AWKWARD
            assert read.account_id == account_id
            assert executed.status is OrderStatus.CONFIRMED
            assert len(await events_of(orders, order.order_id)) == 5
            assert len(await orders.recent_starts(within_s=60)) == 1

    asyncio.run(work())


@pytest.fixture
def empty_url(stores: Stores) -> str:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    execute(stores.postgres_url, f"CREATE DATABASE {name}")
    return database(stores.postgres_url, name)


@pytest.mark.parametrize("setting", OF_A_DATABASE)
@pytest.mark.parametrize("whose", WHOSE)
def test_a_setting_of_the_database_or_the_role_does_not_count(
    whose: str, setting: str, databases: Databases
) -> None:
    name = parse_dsn(databases.orders_url)["dbname"]
    execute(databases.orders_url, f"ALTER {WHOSE[whose].format(name)} SET {setting}")

    carries_an_order(databases.orders_url)


def test_migrations_run_with_backslashes_in_plain_strings(empty_url: str) -> None:
    name = parse_dsn(empty_url)["dbname"]
    execute(empty_url, f'ALTER DATABASE "{name}" SET standard_conforming_strings = off')
    migrate(empty_url, history="orders")

    carries_an_order(empty_url)


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_variable_of_libpq_does_not_count(
    name: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, ENVIRONMENT[name])

    carries_an_order(databases.orders_url)


def test_migrations_and_sessions_use_the_schema_of_the_url(empty_url: str) -> None:
    execute(empty_url, "CREATE SCHEMA tenant")
    url = f"{empty_url}?options=-csearch_path%3Dtenant"
    migrate(url, history="orders")
    carries_an_order(url)

    assert is_migrated(url, history="orders")
    assert not is_migrated(empty_url, history="orders")
    assert rows(empty_url, "SELECT count(*) AS n FROM tenant.orders") == [{"n": 2}]
