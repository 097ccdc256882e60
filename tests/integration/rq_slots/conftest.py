"""Redis for the tests of the RQ worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from support.cutting_proxy import CuttingProxy, cutting_proxy
from support.redis_process import RedisProcess, redis_process
from support.rq import (
    redis_at,
)


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
