import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from order_engine.local.datastores import (
    Kind,
    create_database,
    embedded,
    embedded_postgres,
    embedded_redis,
    local_datastores,
)
from order_engine.local.settings import LocalSettings
from support.waiting import wait_until

ASKS_AND_STAYS = """
import sys, time
from pathlib import Path
from order_engine.local.datastores import embedded
with embedded(sys.argv[1], Path(sys.argv[2])) as datastore:
    print(datastore.url, flush=True)
    time.sleep(600)
"""


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def answers(url: str) -> bool:
    try:
        if url.startswith("redis:"):
            with closing(redis.Redis.from_url(url)) as client:
                return bool(client.ping())
        return query(url, "SELECT true") == [(True,)]
    except (redis.RedisError, psycopg2.OperationalError):
        return False


def test_what_is_committed_survives_a_restart(directory: Path) -> None:
    with embedded_postgres(directory) as url:
        query(create_database(url, "orders"), "CREATE TABLE kept AS SELECT 17 AS number")

    with embedded_postgres(directory) as url:
        assert query(create_database(url, "orders"), "SELECT number FROM kept") == [(17,)]


def test_redis_starts_empty(directory: Path) -> None:
    for _ in range(2):
        with embedded_redis(directory) as url, closing(redis.Redis.from_url(url)) as client:
            assert client.dbsize() == 0
            client.set("hint", "lost")


def test_a_long_path_with_spaces_works(directory: Path) -> None:
    there = directory / "my projects, old" / ("long" * 30)

    with embedded_postgres(there / "a") as postgres, embedded_redis(there / "b") as server:
        assert answers(postgres)
        assert answers(server)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_ends_with_its_context(kind: Kind, directory: Path) -> None:
    with embedded(kind, directory) as datastore:
        assert answers(datastore.url)

    assert not answers(datastore.url)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_ends_with_the_process_that_asked_for_it(kind: Kind, directory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ASKS_AND_STAYS, kind, str(directory)], stdout=subprocess.PIPE
    ) as asking:
        assert asking.stdout is not None
        url = asking.stdout.readline().decode().strip()
        assert answers(url)
        asking.kill()

    with embedded(kind, directory) as datastore:  # waits until the other keeper is done
        assert answers(datastore.url)
        assert datastore.url == url or not answers(url)
    assert not answers(url)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_whose_keeper_was_killed_is_replaced(kind: Kind, directory: Path) -> None:
    with embedded(kind, directory) as abandoned:
        os.kill(abandoned.keeper.pid, signal.SIGKILL)
        wait_until(lambda: abandoned.has_ended, timeout_s=5)
    assert answers(abandoned.url)

    with embedded(kind, directory) as datastore:
        assert answers(datastore.url)
    assert not answers(abandoned.url)


def test_a_pid_file_with_the_number_of_another_process_is_ignored(directory: Path) -> None:
    with embedded_postgres(directory):
        pid_file = directory / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    with embedded_postgres(directory) as url:
        assert answers(url)


def test_two_runs_cannot_share_a_directory(directory: Path) -> None:
    with (
        embedded_redis(directory),
        pytest.raises(SystemExit, match=f"in use by process {os.getpid()}"),
        embedded_redis(directory),
    ):
        pass


def test_servers_of_the_settings_are_used(directory: Path) -> None:
    settings = LocalSettings(database_url="postgresql://db/orders", redis_url="redis://cache")

    with local_datastores(settings, directory) as datastores:
        assert datastores.embedded == ()
        assert datastores.environment == {
            "DATABASE_URL": "postgresql://db/orders",
            "CHAIN_DATABASE_URL": "postgresql://db/orders",
        }
    assert list(directory.iterdir()) == []


def test_orders_and_chain_have_databases_of_their_own(directory: Path) -> None:
    with local_datastores(LocalSettings(database_url="", redis_url=""), directory) as datastores:
        urls = (datastores.database_url, datastores.chain_database_url)

        assert [query(url, "SELECT current_database()") for url in urls] == [
            [("orders",)],
            [("chain",)],
        ]
        assert answers(datastores.redis_url)


def test_postgres_is_durable_unless_an_option_turns_that_off(directory: Path) -> None:
    with embedded_postgres(directory) as url:
        assert setting(url, "fsync") == "on"

    with embedded_postgres(directory, {"fsync": "off"}) as url:
        assert setting(url, "fsync") == "off"


def setting(url: str, name: str) -> str:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        [(value,)] = cursor.fetchall()
        return str(value)
