"""A scripted engine on a real socket; it records the requests that it receives."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Refusal

from order_engine.execution.domain.status import OrderStatus

ORDER_ID = UUID("01900000-0000-7000-8000-000000000001")
HAPPY_PATH = [
    OrderStatus.PENDING,
    OrderStatus.ROUTING,
    OrderStatus.BUILDING,
    OrderStatus.SUBMITTED,
    OrderStatus.CONFIRMED,
]
T = TypeVar("T")


def run(scenario: Coroutine[Any, Any, T], *, timeout_s: float = 10) -> T:
    return asyncio.run(asyncio.wait_for(scenario, timeout_s))


@contextmanager
def a_closed_port() -> Iterator[str]:
    """An address that refuses connections: its port is bound but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


# Streams: a script is the steps of one connection, or the HTTP status of its handshake.

Step = Callable[[ServerConnection], Awaitable[None]]
Script = list[Step] | int


def frame(seq: int, **facts: str) -> Step:
    return sends(
        {
            "orderId": str(ORDER_ID),
            "seq": seq,
            "status": HAPPY_PATH[seq - 1],
            "timestamp": f"2024-01-01T00:00:0{seq}.000Z",
        }
        | facts
    )


def frames(*seqs: int) -> list[Step]:
    return [frame(seq) for seq in seqs]


def sends(message: Mapping[str, object] | str) -> Step:
    async def step(connection: ServerConnection) -> None:
        await connection.send(message if isinstance(message, str) else json.dumps(message))

    return step


def closes(code: int, reason: str = "") -> Step:
    async def step(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return step


async def cut(connection: ServerConnection) -> None:
    connection.transport.abort()


async def stay_silent(connection: ServerConnection) -> None:
    await connection.wait_closed()


ping = sends({"type": "ping"})


@dataclass(kw_only=True)
class FakeStream:
    scripts: Iterator[Script]
    url: str = ""
    paths: list[str] = field(default_factory=list)
    afters: list[int] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    _next: dict[UUID, list[Step]] = field(default_factory=dict)

    def answer_handshake(
        self, connection: ServerConnection, handshake: Handshake
    ) -> Refusal | None:
        url = urlsplit(handshake.path)
        self.paths.append(url.path)
        self.afters.append(int(parse_qs(url.query)["after"][0]))
        # without a script left, a status that the client must not retry
        script = next(self.scripts, 418)
        if isinstance(script, int):
            return connection.respond(script, "")
        self._next[connection.id] = script
        return None

    async def play(self, connection: ServerConnection) -> None:
        for step in self._next[connection.id]:
            await step(connection)
        await connection.wait_closed()
        self.disconnected.set()


@asynccontextmanager
async def fake_stream(
    *scripts: Script, repeated: Script | None = None
) -> AsyncIterator[FakeStream]:
    """Plays one script per connection; when none is left, plays `repeated` on each connection."""
    engine = FakeStream(scripts=chain(scripts, [] if repeated is None else repeat(repeated)))
    async with serve(
        engine.play, "127.0.0.1", 0, process_request=engine.answer_handshake
    ) as server:
        engine.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield engine


# HTTP: one answer per request, in order.


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(kw_only=True)
class FakeGateway:
    answers: Iterator[Response]
    url: str
    requests: list[RecordedRequest] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        content = await request.body()
        self.requests.append(
            RecordedRequest(
                method=request.method,
                path=request.url.path,
                headers=request.headers,
                body=json.loads(content) if content else None,
            )
        )
        return next(self.answers)


@asynccontextmanager
async def fake_gateway(*answers: Response) -> AsyncIterator[FakeGateway]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        gateway = FakeGateway(answers=iter(answers), url=url)
        app = Starlette(routes=[Route("/{path:path}", gateway.answer, methods=["GET", "POST"])])
        server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield gateway
        finally:
            server.should_exit = True
            await serving
