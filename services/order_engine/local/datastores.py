"""Embedded PostgreSQL and Valkey, for a machine without servers and without Docker."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql
from psycopg2.errors import DuplicateDatabase

from order_engine.local.settings import LocalSettings

START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 70

NO_OPTIONS: Mapping[str, str] = {}

Kind = Literal["postgres", "redis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastore:
    """A running server. `keeper` is the process that runs it."""

    kind: Kind
    url: str
    log: Path
    keeper: subprocess.Popen[bytes]

    @property
    def has_ended(self) -> bool:
        return self.keeper.poll() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastores:
    """The stores of the local engine; `embedded` are those started for it."""

    database_url: str
    chain_database_url: str
    redis_url: str  # empty when the settings name another
    embedded: tuple[Datastore, ...]

    @property
    def environment(self) -> dict[str, str]:
        settings = {
            "DATABASE_URL": self.database_url,
            "CHAIN_DATABASE_URL": self.chain_database_url,
            "REDIS_URL": self.redis_url,
        }
        return {name: url for name, url in settings.items() if url}


@contextmanager
def local_datastores(settings: LocalSettings, directory: Path) -> Iterator[Datastores]:
    """The servers of the settings; embedded ones in `directory` for those not set."""
    started: list[Datastore] = []
    database_url, chain_database_url = settings.database_url, settings.chain_database_url
    redis_url = ""
    with ExitStack() as stack:
        if not database_url:
            postgres = stack.enter_context(embedded("postgres", directory / "postgres"))
            started.append(postgres)
            database_url = create_database(postgres.url, "orders")
            chain_database_url = chain_database_url or create_database(postgres.url, "chain")
        if not settings.has_redis:
            started.append(stack.enter_context(embedded("redis", directory / "redis")))
            redis_url = started[-1].url
        yield Datastores(
            database_url=database_url,
            chain_database_url=chain_database_url or database_url,
            redis_url=redis_url,
            embedded=tuple(started),
        )


@contextmanager
def embedded_postgres(directory: Path, options: Mapping[str, str] = NO_OPTIONS) -> Iterator[str]:
    """The URL of the database `postgres` of a server whose data stays in `directory`."""
    with embedded("postgres", directory, options) as server:
        yield server.url


@contextmanager
def embedded_redis(directory: Path, options: Mapping[str, str] = NO_OPTIONS) -> Iterator[str]:
    """The URL of a server that starts empty."""
    with embedded("redis", directory, options) as server:
        yield server.url


@contextmanager
def embedded(
    kind: Kind, directory: Path, options: Mapping[str, str] = NO_OPTIONS
) -> Iterator[Datastore]:
    """Runs a server while the context is open; it stops when this process ends, however it ends.

    `options` are the server's own, by name. Raises SystemExit with one line when it cannot start.
    """
    directory = directory.resolve()
    log = directory / "keeper.log"
    command = [sys.executable, "-m", "order_engine.local.embedded_server", kind, str(directory)]
    command += [f"--option={name}={value}" for name, value in options.items()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        errors = log.open("wb")
    except OSError as error:
        raise SystemExit(f"cannot start: {kind}: {error.filename}: {error.strerror}") from None
    with errors:
        keeper = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=own_environment(),
        )
    try:
        url = _first_line(keeper)
        if not url:
            lines = log.read_text(errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), f"see {log}")
            raise SystemExit(f"cannot start: {kind}: {reason}")
        yield Datastore(kind=kind, url=url, log=log, keeper=keeper)
    finally:
        try:
            keeper.communicate(timeout=STOP_TIMEOUT_S)  # closes its stdin
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.communicate()


def own_environment() -> dict[str, str]:
    """The environment without what the user has set for other PostgreSQLs, and without a locale."""
    foreign = ("PG", "LC_", "LANG")
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - passed on, not read
        if not name.startswith(foreign)
    }
    return {**kept, "LC_ALL": "C", "PYTHONUTF8": "1"}


def _first_line(keeper: subprocess.Popen[bytes]) -> str:
    if keeper.stdout is None or not select.select([keeper.stdout], [], [], START_TIMEOUT_S)[0]:
        return ""
    return keeper.stdout.readline().decode().strip()


def create_database(server_url: str, name: str) -> str:
    """The URL of the database `name`, created when it does not exist."""
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, suppress(DuplicateDatabase):
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
