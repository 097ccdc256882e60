"""HTTP and streams on one port: the gateway and the ws-gateway in one process, for local use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send


def web_app(gateway: Starlette, streams: Starlette) -> ASGIApp:
    """Sends WebSockets to `streams` and requests to `gateway`, and runs the lifespans of both."""

    @asynccontextmanager
    async def lifespan(_: ASGIApp) -> AsyncIterator[None]:
        async with (
            gateway.router.lifespan_context(gateway),
            streams.router.lifespan_context(streams),
        ):
            yield

    apps: dict[str, ASGIApp] = {
        "http": gateway,
        "websocket": streams,
        "lifespan": Router(lifespan=lifespan),
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["type"]](scope, receive, send)

    return app
