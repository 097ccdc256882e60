"""Connections to Redis, each call bounded and never repeated behind the caller's back.

redis-py's own retries push twice or orphan a move when a reply is lost. Everything in Redis is a
hint, so a call that fails is simply not made.
"""

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

CALL_TIMEOUT_S = 1.0


def redis_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, **_bounds(url), retry=Retry(NoBackoff(), 0))


def async_redis_client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(url, **_bounds(url), retry=AsyncRetry(NoBackoff(), 0))


def _bounds(url: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CALL_TIMEOUT_S,
    }
    return bounds if url.startswith("unix:") else bounds | {"socket_keepalive": True}
