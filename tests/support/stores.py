"""Real PostgreSQL and Redis for the tests: containers when a Docker engine answers, else the
embedded servers that `make run` uses. TEST_STORES=docker or =embedded chooses.

The engine is imported when a server starts: the tests of rq_slots run without it.
"""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from support.ports import free_port

TEMPLATES = {"orders": "template_orders", "chain": "template_chain"}
POSTGRES_OPTIONS = {
    "max_connections": "400",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The two servers of this process of tests."""

    kind: str
    postgres_url: str
    redis_url: str


class Databases:
    """One test's own databases. The chain's may be a function that makes it when it is first used."""

    def __init__(self, *, orders_url: str, chain_url: str | Callable[[], str]) -> None:
        self.orders_url = orders_url
        self._chain_url = chain_url

    @cached_property
    def chain_url(self) -> str:
        return self._chain_url if isinstance(self._chain_url, str) else self._chain_url()


def stores_kind() -> str:
    wanted = os.environ.get("TEST_STORES")  # noqa: TID251 - a test setting, not one of the engine
    if wanted in {"docker", "embedded"}:
        return wanted
    return "docker" if _docker_answers() else "embedded"


def _docker_answers() -> bool:
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@contextmanager
def running_stores(kind: str, directory: Path) -> Iterator[Stores]:
    from order_engine.execution.migrations.main import migrate

    with ExitStack() as stack:
        if kind == "docker":
            from support.containers import postgres_container, redis_container

            postgres_url = stack.enter_context(postgres_container(POSTGRES_OPTIONS))
            redis_url = stack.enter_context(redis_container())
        else:
            from order_engine.local.datastores import embedded_postgres, embedded_redis

            postgres_url = stack.enter_context(
                embedded_postgres(directory / "postgres", POSTGRES_OPTIONS)
            )
            redis_url = stack.enter_context(
                embedded_redis(directory / "redis", {"port": str(free_port())})
            )
        for history, name in TEMPLATES.items():
            execute(postgres_url, f'CREATE DATABASE "{name}"')
            migrate(database(postgres_url, name), history=history)
        yield Stores(kind=kind, postgres_url=postgres_url, redis_url=redis_url)


@contextmanager
def fresh_databases(stores: Stores) -> Iterator[Databases]:
    """New databases, which are kept until the server ends: each drop would cost a checkpoint."""
    yield Databases(
        orders_url=_from_template(stores, "orders"),
        chain_url=lambda: _from_template(stores, "chain"),
    )


def _from_template(stores: Stores, history: str) -> str:
    name = f"{history}_{uuid.uuid4().hex[:12]}"
    execute(stores.postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATES[history]}"')
    return database(stores.postgres_url, name)


def database(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def execute(url: str, sql: str) -> None:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def emptied(redis_url: str) -> str:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url
