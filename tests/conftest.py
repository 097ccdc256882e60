import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from support.stores import (
    Databases,
    Stores,
    emptied,
    fresh_databases,
    running_stores,
    stores_kind,
)


def pytest_report_header() -> str:
    kind = stores_kind()
    reason = "a Docker engine answers" if kind == "docker" else "no Docker engine, or asked for"
    return f"stores: {kind} ({reason})"


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    # not under pytest's own directory, which each session of root closes to other users
    with (
        tempfile.TemporaryDirectory(prefix="order-engine-tests-") as directory,
        running_stores(stores_kind(), Path(directory)) as running,
    ):
        yield running


@pytest.fixture
def databases(stores: Stores) -> Iterator[Databases]:
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture
def redis_url(stores: Stores) -> str:
    return emptied(stores.redis_url)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    # imported here, because the tests of rq_slots run without the engine
    from order_engine.execution.stores.redis_clients import redis_client

    with redis_client(redis_url) as client:
        yield client
