"""Redis for the tests of the RQ worker, which need nothing else."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from support.cutting_proxy import CuttingProxy, cutting_proxy
from support.redis_process import RedisProcess, redis_process
from support.rq import redis_at
from support.stores import emptied, stores_kind


@pytest.fixture(scope="session")
def rq_redis_url() -> Iterator[str]:
    """A server of these tests: they run without the engine, and without its stores."""
    if stores_kind() == "docker":
        from support.containers import redis_container

        with redis_container() as url:
            yield url
        return
    with (
        tempfile.TemporaryDirectory(prefix="rq-slots-tests-") as directory,
        redis_process(Path(directory)) as process,
    ):
        yield process.url


@pytest.fixture
def redis_url(rq_redis_url: str) -> str:
    return emptied(rq_redis_url)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis_at(redis_url) as client:
        yield client


@pytest.fixture
def stock(redis_url: str) -> Iterator[redis.Redis]:
    """A client for RQ's own worker, which changes its timeout."""
    with redis.Redis.from_url(redis_url) as stock:
        yield stock


@pytest.fixture
def proxy(redis_url: str) -> Iterator[CuttingProxy]:
    with cutting_proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(proxy: CuttingProxy) -> Iterator[redis.Redis]:
    """Our client, on the way that can be cut."""
    with redis_at(proxy.url) as behind_proxy:
        yield behind_proxy


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_process(tmp_path) as process:
        yield process
