"""Connections to Redis, each call bounded and never repeated behind the caller's back.

redis-py's own retries push twice or orphan a move when a reply is lost. Everything in Redis is a
hint, so a call that fails is simply not made.

Where the URL begins with `rediss://`, redis-py speaks TLS and verifies the server's certificate and
name; `ssl_ca_certs`, `ssl_certfile` and its other options stand in the URL's query.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.utils import str_if_bytes

CALL_TIMEOUT_S = 1.0
OLDEST_VERSION = (6, 2)  # the first that knows BLMOVE
NEEDED = f"{'.'.join(map(str, OLDEST_VERSION))} or later is needed"
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)


class RedisTooOld(redis.ConnectionError):
    """A server that lacks commands we need, which is to us as if there were none."""


def redis_client(url: str) -> redis.Redis:
    """Raises SystemExit with one line where an option of the URL cannot be followed.

    Calls raise RedisTooOld where the server is.
    """
    return _client(
        redis.Redis.from_url, url, retry=Retry(NoBackoff(), 0), redis_connect_func=_connected
    )


def async_redis_client(url: str) -> redis.asyncio.Redis:
    """Raises SystemExit with one line where an option of the URL cannot be followed."""
    return _client(redis.asyncio.Redis.from_url, url, retry=AsyncRetry(NoBackoff(), 0))


def _client(from_url: Callable[..., Client], url: str, **options: Any) -> Client:
    try:
        client = from_url(url, **_bounds(url), **options)
        pool = client.connection_pool
        # connects to nothing yet, but looks at the options
        pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in redis
        for name in TLS_FILES:
            if path := pool.connection_kwargs.get(name):
                Path(path).read_bytes()
    except (TypeError, ValueError, OSError, redis.RedisError) as error:
        raise SystemExit(f"cannot start: an option of the Redis URL: {error}") from None
    return client


def _bounds(url: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CALL_TIMEOUT_S,
    }
    return bounds if url.startswith("unix:") else bounds | {"socket_keepalive": True}


def _connected(connection: redis.Connection) -> None:
    """Greets the server, whose answer holds its version: asking for it costs no call."""
    try:
        connection.on_connect()  # type: ignore[no-untyped-call]  # untyped in redis
    except redis.ResponseError as error:
        if "HELLO" not in str(error):
            raise
        raise RedisTooOld(f"Redis is too old: {NEEDED}") from error
    greeting: dict[Any, Any] = connection.handshake_metadata or {}  # none before RESP3
    version = str_if_bytes(greeting.get(b"version", greeting.get("version", "")))
    if version and tuple(map(int, version.split(".")[:2])) < OLDEST_VERSION:
        raise RedisTooOld(f"Redis {version} is too old: {NEEDED}")
