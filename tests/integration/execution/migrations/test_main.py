"""`migrate` as the chart runs it: in a Job, and in the init containers that wait for that Job."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.stores import Databases, Stores, database, execute
from support.waiting import wait_until

SERVICES = Path(__file__).parents[4] / "services"
PROGRAM = Path(sys.executable).parent / "migrate"
TIMEOUT_S = 60

NEWER = "UPDATE public.schema_version SET version_num = '9999'"
OLDER = "UPDATE public.schema_version SET version_num = '0001'"


@pytest.fixture
def empty_url(stores: Stores) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    execute(stores.postgres_url, f"CREATE DATABASE {name}")
    yield database(stores.postgres_url, name)
    execute(stores.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


def environment(url: str, chain_url: str = "") -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],  # noqa: TID251 - not a setting of the engine
        "DATABASE_URL": url,
        "CHAIN_DATABASE_URL": chain_url,
    }


def migrate(url: str, *arguments: str, chain_url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment(url, chain_url),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_waiting_ends_when_another_process_has_migrated(empty_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as output:
        waiting = subprocess.Popen(
            [PROGRAM, "--wait", "--within", "60"],
            env=environment(empty_url),
            cwd="/",
            stdout=output,
            stderr=output,
        )
        wait_until(lambda: "the schema is not migrated yet" in log.read_text(), timeout_s=20)
        migrated = migrate(empty_url)

        assert migrated.returncode == 0, migrated.stderr
        assert waiting.wait(TIMEOUT_S) == 0


def test_waiting_changes_nothing_and_reports_what_is_missing(empty_url: str) -> None:
    for _ in range(2):
        waited = migrate(empty_url, "--wait")

        assert waited.returncode == 1
        assert waited.stderr == "cannot wait for orders: the schema is not migrated yet\n"


def test_an_older_schema_does_not_count_as_migrated(databases: Databases) -> None:
    execute(databases.orders_url, OLDER)

    assert migrate(databases.orders_url, "--wait", "orders").returncode == 1


def test_only_the_named_histories_are_checked(databases: Databases) -> None:
    url = databases.orders_url  # has no chain schema

    assert migrate(url, "--wait", "orders").returncode == 0
    assert migrate(url, "--wait", "orders", "chain").returncode == 1
    assert migrate(url, "--wait", chain_url=databases.chain_url).returncode == 0


@pytest.mark.parametrize("arguments", [["--wait", "orders"], ["orders"]])
def test_an_older_version_leaves_a_newer_schema_unchanged(
    databases: Databases, arguments: Sequence[str]
) -> None:
    execute(databases.orders_url, NEWER)

    done = migrate(databases.orders_url, *arguments)

    assert done.returncode == 0, done.stderr
    assert migrate(databases.orders_url, "--wait", "orders").returncode == 0


@pytest.mark.parametrize("arguments", [["--wait"], []])
def test_a_server_that_is_away_is_retried_until_the_deadline(arguments: Sequence[str]) -> None:
    done = migrate("postgresql://127.0.0.1:1/none", *arguments, "--within", "2")

    assert done.returncode == 1
    assert done.stdout.count("not migrated yet, retrying") >= 1
    assert "Connection refused" in done.stderr


def test_the_migrations_are_found_in_a_directory_with_any_name(tmp_path: Path) -> None:
    services = tmp_path / "my 100% 'own' é" / "services"
    shutil.copytree(SERVICES, services, ignore=shutil.ignore_patterns("__pycache__"))
    sought = subprocess.run(
        [PROGRAM, "--wait"],
        env=environment("postgresql://127.0.0.1:1/none") | {"PYTHONPATH": str(services)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert "Traceback" not in sought.stderr
    assert "Connection refused" in sought.stderr


def test_an_unknown_history_is_refused(empty_url: str) -> None:
    assert migrate(empty_url, "ordres").returncode == 2


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused(stores: Stores, encoding: str) -> None:
    name = f"{encoding.lower()}_{uuid.uuid4().hex[:12]}"
    execute(
        stores.postgres_url,
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    refused = migrate(database(stores.postgres_url, name))
    execute(stores.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
    output = refused.stdout + refused.stderr

    assert refused.returncode != 0
    assert f"the database has the encoding {encoding}" in output
    assert len(output.splitlines()) == 1
