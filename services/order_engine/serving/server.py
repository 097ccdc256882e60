"""An HTTP and WebSocket server with bounds, as a context of its process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from order_engine.serving.bounds import ADDRESS_SHARE, CONNECTIONS_MAX
from order_engine.serving.http import HttpConnection
from order_engine.serving.open_files import raise_open_file_limit
from order_engine.serving.peers import Peers
from order_engine.serving.websocket import WebSocketConnection

DRAIN_REQUESTS_S = 10


class _Server(uvicorn.Server):
    """A server beside others in one process, which leaves the signals to its host."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    lifespan: bool = False,
    trusted_proxies: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
) -> AsyncIterator[None]:
    """Serves `app` while the context is open; answers what it has accepted before it closes.

    `trusted_proxies` are the addresses and networks whose X-Forwarded-For tells the client's own
    address; "*" is any. Beyond `connections_max`, sockets among them, the answer is 503; also to an
    address that holds a fourth of them, sockets not counted. Raises SystemExit with one line when
    the port is taken.
    """
    peers = Peers(
        each_max=max(connections_max // ADDRESS_SHARE, 1), trusted_proxies=trusted_proxies
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on" if lifespan else "off",
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips="*" if "*" in trusted_proxies else list(trusted_proxies),
        http=partial(HttpConnection, connections_max=connections_max, peers=peers),  # type: ignore[arg-type]  # is only called
        ws=WebSocketConnection,
        ws_max_size=16_384,
        ws_per_message_deflate=False,  # frames are too small to gain by it, its windows are not
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_REQUESTS_S,
        server_header=False,
    )
    server = _Server(config)
    listener = _bound(host, port)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        if task.done():
            raise SystemExit(f"cannot start: the application on port {port} did not come up")
        yield
    finally:
        server.should_exit = True
        await task


def serving_public(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
) -> AbstractAsyncContextManager[None]:
    """Serves an application to clients, with its lifespan and open files for all connections."""
    raise_open_file_limit(connections_max)
    return serving(
        app,
        host=host,
        port=port,
        lifespan=True,
        trusted_proxies=trusted_proxies,
        connections_max=connections_max,
    )


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms for the last
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SystemExit(f"cannot start: {host} port {port}: {error.strerror}") from None
    return listener
