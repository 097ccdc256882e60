"""Clients that end their side of a connection after their last request, and wait for the answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from order_engine.serving.server import serving
from support.ports import free_port
from support.raw_http import RawConnection, raw_connection

HEAD = b"POST /answer HTTP/1.1\r\nHost: engine\r\n"
LARGE = "x" * 300_000
UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


class Served:
    """A server whose answers wait until they are released."""

    def __init__(self) -> None:
        self.address = ""
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.released = asyncio.Event()
        self.left = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        body = (await request.body()).decode()
        self.arrived.put_nowait(body)
        await self.released.wait()
        return PlainTextResponse(LARGE if body == "large" else body)

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.arrived.put_nowait("socket")
        async for _ in websocket.iter_text():
            pass
        self.left.set()


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    server, port = Served(), free_port()
    app = Starlette(
        routes=[
            Route("/answer", server.answer, methods=["POST"]),
            WebSocketRoute("/socket", server.socket),
        ]
    )
    async with serving(app, host="127.0.0.1", port=port):
        server.address = f"127.0.0.1:{port}"
        yield server


def post(body: str) -> bytes:
    return HEAD + f"Content-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    def work(test: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(test)

    return work


@asynccontextmanager
async def half_closed(server: Served, sent: bytes) -> AsyncIterator[RawConnection]:
    """A client that has sent this and its end."""
    async with raw_connection(server.address) as connection:
        await connection.send(sent)
        connection.end_sending()
        yield connection


REQUESTS = {
    "a request": (post("one"), ["one"]),
    "a request without a body": (post(""), [""]),
    "a chunked request": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        ["one"],
    ),
    "a request that offers h2c": (
        post("one").replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        ["one"],
    ),
    "a request that asks to close": (
        post("one").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        ["one"],
    ),
    "a request of HTTP/1.0": (post("one").replace(b"HTTP/1.1", b"HTTP/1.0"), ["one"]),
    "three requests": (post("one") + post("two") + post("three"), ["one", "two", "three"]),
    "a request and a part of a head": (post("one") + HEAD, ["one"]),
    "a request and a part of a body": (post("one") + post("two")[:-1], ["one"]),
    "two requests and a part of a body": (
        post("one") + post("two") + post("three")[:-1],
        ["one", "two"],
    ),
    "an answer larger than the buffers": (post("large"), [LARGE]),
}


@pytest.mark.parametrize(("sent", "bodies"), REQUESTS.values(), ids=REQUESTS.keys())
def test_whole_requests_are_answered_after_the_client_has_half_closed(
    run: Callable[[Any], None], sent: bytes, bodies: list[str]
) -> None:
    async def work() -> None:
        async with served() as server, half_closed(server, sent) as connection:
            await server.arrived.get()
            server.released.set()
            answers = [await connection.answer() for _ in bodies]

            assert [(each.status, each.body) for each in answers] == [
                (200, body) for body in bodies
            ]
            assert await connection.rest() == b""

    run(work())


def test_a_request_is_answered_whose_client_half_closes_while_it_waits(
    run: Callable[[Any], None],
) -> None:
    async def work() -> None:
        async with served() as server, raw_connection(server.address) as connection:
            await connection.send(post("one"))
            await server.arrived.get()
            connection.end_sending()
            server.released.set()

            assert (await connection.answer()).body == "one"
            assert await connection.rest() == b""

    run(work())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /answer",
        HEAD,
        HEAD + b"Content-Length: 3\r\n\r\non",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_a_connection_without_a_whole_request_is_closed(
    run: Callable[[Any], None], sent: bytes
) -> None:
    async def work() -> None:
        async with served() as server, half_closed(server, sent) as connection:
            assert (await connection.rest()).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b""
            assert server.arrived.empty()

    run(work())


def test_an_idle_connection_is_closed(run: Callable[[Any], None]) -> None:
    async def work() -> None:
        async with served() as server, raw_connection(server.address) as connection:
            server.released.set()
            await connection.send(post("one"))
            await connection.answer()
            connection.end_sending()

            assert await connection.rest() == b""

    run(work())


def test_a_websocket_is_closed(run: Callable[[Any], None]) -> None:
    """Without a close frame there is nothing to wait for: the client cannot answer pings."""

    async def work() -> None:
        async with served() as server, half_closed(server, UPGRADE) as connection:
            await server.arrived.get()

            assert (await connection.answer()).status == 101
            assert await connection.rest() == b""
            await server.left.wait()

    run(work())
