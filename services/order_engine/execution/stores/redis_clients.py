"""Connections to Redis. Every call is bounded in time and sent once.

The retries of redis-py would push twice, or lose a moved element, when a reply is lost. Everything
in Redis is a hint, so a call that fails is not repeated.

With a `rediss://` URL, redis-py uses TLS and verifies the certificate and the name of the server.
`ssl_ca_certs`, `ssl_certfile` and its other options belong in the query of the URL.
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
OLDEST_VERSION = (6, 2)  # the first with BLMOVE
NEEDED = f"{'.'.join(map(str, OLDEST_VERSION))} or later is required"
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)


class RedisTooOld(redis.ConnectionError):
    """The server lacks commands that the engine needs. It is treated as a server that is away."""


def redis_client(url: str) -> redis.Redis:
    """Raises SystemExit with one line when an option of the URL is wrong.

    Calls raise RedisTooOld when the server is older than OLDEST_VERSION.
    """
    return _client(
        redis.Redis.from_url, url, retry=Retry(NoBackoff(), 0), redis_connect_func=_connected
    )


def async_redis_client(url: str) -> redis.asyncio.Redis:
    """Raises SystemExit with one line when an option of the URL is wrong."""
    return _client(redis.asyncio.Redis.from_url, url, retry=AsyncRetry(NoBackoff(), 0))


def _client(from_url: Callable[..., Client], url: str, **options: Any) -> Client:
    try:
        client = from_url(url, **_bounds(url), **options)
        pool = client.connection_pool
        # does not connect, but reads the options
        pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in redis
        for name in TLS_FILES:
            if path := pool.connection_kwargs.get(name):
                Path(path).read_bytes()
    except (TypeError, ValueError, OSError, redis.RedisError) as error:
        raise SystemExit(f"cannot start: the Redis URL has a wrong option: {error}") from None
    return client


def _bounds(url: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CALL_TIMEOUT_S,
    }
    return bounds if url.startswith("unix:") else bounds | {"socket_keepalive": True}


def _connected(connection: redis.Connection) -> None:
    """Checks the version of the server, which is in its reply to the greeting: no extra call."""
    try:
        connection.on_connect()  # type: ignore[no-untyped-call]  # untyped in redis
    except redis.ResponseError as error:
        if "HELLO" not in str(error):
            raise
        raise RedisTooOld(f"Redis is too old: {NEEDED}") from error
    greeting: dict[Any, Any] = connection.handshake_metadata or {}  # empty before RESP3
    version = str_if_bytes(greeting.get(b"version", greeting.get("version", "")))
    if version and tuple(map(int, version.split(".")[:2])) < OLDEST_VERSION:
        raise RedisTooOld(f"Redis {version} is too old: {NEEDED}")
