"""An HTTP and WebSocket server with bounds, as a context of its process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from order_engine.serving.addresses import in_both_forms
from order_engine.serving.bounds import (
    ADDRESS_SHARE,
    CONNECTIONS_MAX,
    KEEP_ALIVE_S,
    MESSAGE_BYTES_MAX,
    PING_EVERY_S,
    PING_TIMEOUT_S,
)
from order_engine.serving.http import HttpConnection
from order_engine.serving.listening import bound_socket
from order_engine.serving.open_files import raise_open_file_limit
from order_engine.serving.peers import Peers
from order_engine.serving.websocket import WebSocketConnection

DRAIN_REQUESTS_S = 10
DATE_EVERY_S = 1.0


class _Server(uvicorn.Server):
    """A server that leaves signals to its process, which may run several.

    It sets the Date of its answers every second, where uvicorn wakes up ten times a second.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def main_loop(self) -> None:
        while not self._stopped.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_EVERY_S):
                    await self._stopped.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
    keep_alive_s: int = KEEP_ALIVE_S,
    websockets: bool = True,
) -> AsyncIterator[None]:
    """Serves `app` while the context is open; answers the requests in hand before it closes.

    The lifespan of the application is the caller's: uvicorn would log its errors with a traceback.
    `host` is an address, a name, or `::` for every address of both families. `trusted_proxies` are
    addresses and networks, or "*" for any; X-Forwarded-For of their requests gives the client's
    address. At most `connections_max` connections are open, WebSockets included, and a fourth of
    them from one address, WebSockets excluded; others get 503. A connection without a request is
    closed after `keep_alive_s`. Without `websockets`, the offer to change to one is ignored. Raises
    SystemExit with one line when the port is taken.
    """
    trusted_proxies = list(in_both_forms(trusted_proxies))
    peers = Peers(
        each_max=max(connections_max // ADDRESS_SHARE, 1), trusted_proxies=trusted_proxies
    )
    http = partial(HttpConnection, connections_max=connections_max, peers=peers)
    config = _config(
        app,
        http,
        trusted_proxies=trusted_proxies,
        keep_alive_s=keep_alive_s,
        websockets=websockets,
    )
    server = _Server(config)
    listener = _bound_socket(host, port)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        if task.done():
            raise SystemExit(f"cannot start: the application on port {port} did not come up")
        yield
    finally:
        server.stop()
        await task


def serving_public(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
    keep_alive_s: int = KEEP_ALIVE_S,
    websockets: bool = True,
) -> AbstractAsyncContextManager[None]:
    """Serves an application to clients, with open files for all connections."""
    raise_open_file_limit(connections_max)
    return serving(
        app,
        host=host,
        port=port,
        trusted_proxies=trusted_proxies,
        connections_max=connections_max,
        keep_alive_s=keep_alive_s,
        websockets=websockets,
    )


def _config(
    app: ASGIApp,
    http: Callable[..., HttpConnection],
    *,
    trusted_proxies: Sequence[str],
    keep_alive_s: int,
    websockets: bool,
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips="*" if "*" in trusted_proxies else list(trusted_proxies),
        http=http,  # type: ignore[arg-type]  # is only called
        ws=WebSocketConnection if websockets else "none",
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_per_message_deflate=False,  # small frames gain little, and its windows need memory
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=DRAIN_REQUESTS_S,
        server_header=False,
    )


def _bound_socket(host: str, port: int) -> socket.socket:
    try:
        return bound_socket(host, port)
    except OSError as error:
        raise SystemExit(f"cannot start: {host} port {port}: {error.strerror}") from None
