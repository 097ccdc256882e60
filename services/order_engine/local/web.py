"""HTTP and streams on one port: the gateway and the ws-gateway in one process, for local use."""

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send


def web_app(gateway: Starlette, streams: Starlette) -> ASGIApp:
    """Sends WebSockets to `streams` and requests to `gateway`. The lifespans of both are the caller's."""
    apps = {"http": gateway, "websocket": streams}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["type"]](scope, receive, send)

    return app
