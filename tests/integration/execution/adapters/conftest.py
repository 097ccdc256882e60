from collections.abc import Iterator

import pytest
import redis

from execution.adapters.redis_clients import redis_client


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis_client(redis_url) as client:
        yield client
