import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette

from order_engine.serving.server import serving
from support.ports import free_port


@asynccontextmanager
async def served(app: Starlette, *, websockets: bool = True) -> AsyncIterator[str]:
    """Serves the application as its deployable does; yields `host:port`."""
    port = free_port()
    async with (
        app.router.lifespan_context(app),
        serving(app, host="127.0.0.1", port=port, websockets=websockets),
    ):
        yield f"127.0.0.1:{port}"


@contextmanager
def running(app: Starlette, *, websockets: bool = True) -> Iterator[str]:
    """The same on its own thread, with uvloop as in the deployables."""
    with (
        start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(served(app, websockets=websockets)) as address,
    ):
        yield address


@contextmanager
def a_closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nothing else uses it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
