"""Clients that send more than anyone needs, or read nothing: each is ended, and nobody waits."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from order_engine.serving import bounds as connection_bounds
from order_engine.serving import http as http_connections
from order_engine.serving import websocket as connections
from order_engine.serving.process import run
from order_engine.serving.server import serving
from support.fleet import free_port

WITHIN_S = 30
SOON_S = 0.2
HEAD = b"GET /hello HTTP/1.1\r\nHost: engine\r\n"
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LINE = b"X: y\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def sent(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


FLOODS = {
    "pings": (b"", sent(Opcode.PING)),
    "pongs": (b"", sent(Opcode.PONG)),
    "fragments": (sent(Opcode.TEXT, fin=False), sent(Opcode.CONT, fin=False)),
}


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def read_all(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def much(request: Request) -> Response:
    request.app.state.answered += 1
    return PlainTextResponse("x" * 200_000)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def close_at_once(websocket: WebSocket) -> None:
    """Waits for the answer to its close, as the streams do that refuse a client."""
    await websocket.accept()
    wire: connections.WebSocketConnection = websocket.scope["state"][connections.WIRE]
    wire.finish(1000, within_s=WITHIN_S)


APP = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/read", read_all, methods=["POST"]),
        Route("/much", much),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/closed", close_at_once),
    ]
)


@asynccontextmanager
async def a_server(
    *, connections_max: int = 100, trusted_proxies: Sequence[str] = ()
) -> AsyncIterator[int]:
    APP.state.answered = 0
    port = free_port()
    async with serving(
        APP,
        host="127.0.0.1",
        port=port,
        connections_max=connections_max,
        trusted_proxies=trusted_proxies,
    ):
        yield port


@asynccontextmanager
async def a_connection(port: int, *, address: str = "127.0.0.1") -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def a_socket(connection: Connection, path: bytes = b"/echo") -> None:
    reader, writer = connection
    writer.write(UPGRADE.replace(b"/echo", path) + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")


async def flood(connection: Connection, data: bytes, *, times: int = 2_000) -> None:
    """Sends until it is stopped by the other side."""
    _, writer = connection
    with suppress(ConnectionError):
        for _ in range(times):
            writer.write(data)
            await writer.drain()


async def to_the_end(connection: Connection) -> bytes:
    """All that comes until the other side ends it."""
    reader, _ = connection
    received = b""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            received += data
    return received


def ended(bound: str) -> float:
    return REGISTRY.get_sample_value("connections_ended_total", {"bound": bound}) or 0.0


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("HEAD_WITHIN_S", "UNREAD_WITHIN_S", "LINGER_WITHIN_S", "CLOSE_WITHIN_S"):
        monkeypatch.setattr(connection_bounds, bound, SOON_S)


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_without_messages_is_closed(kind: str) -> None:
    async def work() -> None:
        before, (first, again) = ended("frames"), FLOODS[kind]
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            await a_socket(client)
            client[1].write(first)
            received = asyncio.create_task(to_the_end(client))
            await flood(client, again * 10_000)

            assert sent_close(1008) in await received
        assert ended("frames") == before + 1

    run(work())


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.TEXT])
def test_a_flood_after_the_close_is_cut_off(opcode: Opcode) -> None:
    async def work() -> None:
        before = ended("frames")
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            await a_socket(client, b"/closed")
            received = asyncio.create_task(to_the_end(client))
            await flood(client, sent(opcode) * 10_000)
            await received

        assert ended("frames") == before + 1

    run(work())


def test_fragments_of_one_message_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_bounds, "IDLE_FRAMES_PER_S_MAX", 1_000_000)
    first, again = FLOODS["fragments"]

    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            await a_socket(client)
            client[1].write(first + again * (connection_bounds.FRAGMENTS_MAX + 1))

            assert sent_close(1008) in await to_the_end(client)

    run(work())


def sent_close(code: int) -> bytes:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big")).serialize(mask=False)


def test_others_are_answered_while_somebody_floods() -> None:
    """With small messages, which are no breach: each is read when the one before is answered."""

    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server() as port,
            a_connection(port) as client,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as other,
        ):
            await a_socket(client)
            reading = asyncio.create_task(to_the_end(client))
            flooding = asyncio.create_task(flood(client, sent(Opcode.TEXT) * 20_000))
            for _ in range(20):
                await other.send("still here")
                assert await other.recv() == "still here"
            assert not flooding.done()
            for task in (flooding, reading):
                task.cancel()

    run(work())


TOO_LONG = {
    "lines": HEAD + LINE * 110,
    "a value": HEAD + b"X: " + b"y" * 20_000,
    "a path": b"GET /" + b"y" * 20_000,
    "an upgrade": UPGRADE + LINE * 110,
    "a later one": HEAD + b"\r\n" + HEAD + b"X: " + b"y" * 20_000,
}


@pytest.mark.parametrize("kind", TOO_LONG)
def test_a_head_that_is_too_long_is_refused(kind: str) -> None:
    async def work() -> None:
        before = ended("head")
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            if kind == "a later one":
                client[1].write(HEAD + b"\r\n")
                await client[0].readuntil(b"hello")
            client[1].write(TOO_LONG[kind].removeprefix(HEAD + b"\r\n"))

            assert (await to_the_end(client)).startswith(b"HTTP/1.1 431 ")
        assert ended("head") == before + 1

    run(work())


@pytest.mark.parametrize("overhead", [LINE * 110, b"X: " + b"y" * 20_000])
def test_trailers_that_are_too_long_end_the_connection(overhead: bytes) -> None:
    async def work() -> None:
        before = ended("head")
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(HEAD.replace(b"GET /hello", b"POST /read") + CHUNKED)
            client[1].write(b"1\r\nx\r\n0\r\n" + overhead)

            assert await to_the_end(client) == b""
        assert ended("head") == before + 1

    run(work())


def test_a_head_and_a_body_as_long_as_they_may_be_are_taken() -> None:
    async def work() -> None:
        head = b"POST /read HTTP/1.1\r\nHost: engine\r\nContent-Length: 300000\r\n"
        head += b"X: " + b"y" * 12_000 + b"\r\n" + LINE * 90
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            for _ in range(2):
                client[1].write(head + b"\r\n" + b"z" * 300_000)

                assert (await client[0].readuntil(b"300000")).startswith(b"HTTP/1.1 200 ")

    run(work())


UNENDING = {
    "an empty line": HEAD + b"\r\n\r\n",
    "a body after the answer": HEAD + b"Content-Length: 1000000\r\n\r\nx",
    "trailers": HEAD + CHUNKED + b"0\r\nX: y",
    "another protocol": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("kind", UNENDING)
def test_an_answered_client_cannot_put_its_end_off(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(UNENDING[kind])

            assert (await to_the_end(client)).endswith(b"hello")

    made = http_connections.HttpConnection.__init__

    def made_to_wait_less(
        self: http_connections.HttpConnection, *args: object, **kwargs: object
    ) -> None:
        made(self, *args, **kwargs)  # type: ignore[arg-type]
        self.timeout_keep_alive = 1

    monkeypatch.setattr(http_connections.HttpConnection, "__init__", made_to_wait_less)
    run(work())


def test_an_early_answer_is_read_whole_and_says_that_it_is_the_last() -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(HEAD + b"Content-Length: 1000000\r\n\r\n")
            sending = asyncio.create_task(flood(client, b"x" * 10_000, times=50))
            answer = await to_the_end(client)
            await sending

        assert b"connection: close" in answer
        assert answer.endswith(b"hello")

    run(work())


REFUSED_UPGRADES = {
    "a body": (b"Content-Length: 1000000\r\n", b"400"),
    "chunks": (b"Transfer-Encoding: chunked\r\n", b"400"),
    "a long cookie": (b"Cookie: " + b"a" * 9_000 + b"\r\n", b"431"),
}


@pytest.mark.parametrize("kind", REFUSED_UPGRADES)
def test_an_upgrade_that_cannot_be_is_answered(kind: str) -> None:
    async def work() -> None:
        line, status = REFUSED_UPGRADES[kind]
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(UPGRADE + line + b"\r\n")

            assert (await to_the_end(client)).startswith(b"HTTP/1.1 " + status)

    run(work())


@pytest.mark.usefixtures("_soon")
def test_a_client_that_reads_no_answers_is_ended() -> None:
    """Its requests are not even looked at, once a few of them wait."""

    async def work() -> None:
        before, deaf = ended("unread"), socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        with deaf:
            async with asyncio.timeout(WITHIN_S), a_server() as port:
                deaf.connect(("127.0.0.1", port))
                deaf.sendall((HEAD.replace(b"hello", b"much") + b"\r\n") * 300)
                while ended("unread") == before:
                    await asyncio.sleep(0.01)

        assert APP.state.answered < connection_bounds.PIPELINED_MAX

    run(work())


def test_many_requests_at_once_are_all_answered() -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write((HEAD + b"\r\n") * 3_000)
            for _ in range(3_000):
                await client[0].readuntil(b"hello")

    run(work())


def test_beyond_so_many_connections_the_answer_is_503() -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=2) as port,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as socket_of_one,
            a_connection(port) as kept,
            a_connection(port) as refused,
        ):
            assert (await to_the_end(refused)).startswith(b"HTTP/1.1 503 ")
            kept[1].write(HEAD + b"\r\n")
            await kept[0].readuntil(b"hello")
            await socket_of_one.send("still here")
            assert await socket_of_one.recv() == "still here"

    run(work())


REFUSED = {
    "a head that is too long": (TOO_LONG["lines"], 431, "head_too_large"),
    "no method": (HEAD.replace(b"GET", b"GOT") + b"\r\n", 400, "invalid_request"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01", 400, "invalid_request"),
    "one too many": (b"", 503, "too_many_connections"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_before_the_application_is_a_problem_too(kind: str) -> None:
    sent_bytes, status, code = REFUSED[kind]

    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=0 if status == 503 else 100) as port,
            a_connection(port) as client,
        ):
            client[1].write(sent_bytes)
            head, _, body = (await to_the_end(client)).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/problem+json" in head
        assert b"content-length: %d" % len(body) in head
        assert (b"retry-after: 1" in head) == (status == 503)
        problem = json.loads(body)
        assert (problem["success"], problem["status"], problem["code"]) == (False, status, code)

    run(work())


async def is_answered(connection: Connection) -> bool:
    connection[1].write(HEAD + b"\r\n")
    return b" 200 " in await connection[0].readuntil(b"\r\n")


def test_one_address_holds_no_more_than_a_fourth_of_the_connections() -> None:
    async def work() -> None:
        before = ended("address")
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=8) as port,
            a_connection(port) as kept,
            a_connection(port) as left,
        ):
            assert await is_answered(kept)
            assert await is_answered(left)
            async with a_connection(port) as refused:
                assert (await to_the_end(refused)).startswith(b"HTTP/1.1 503 ")
            assert ended("address") == before + 1
            async with a_connection(port, address="127.0.0.2") as other:
                assert await is_answered(other)
            left[1].write(HEAD + b"Connection: close\r\n\r\n")
            await to_the_end(left)
            async with a_connection(port) as another:
                assert await is_answered(another)

    run(work())


def test_a_connection_that_became_a_socket_is_the_applications_to_count() -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=8) as port,
            a_connection(port) as first,
            a_connection(port) as second,
        ):
            await a_socket(first)
            await a_socket(second)
            async with a_connection(port) as third:
                assert await is_answered(third)

    run(work())


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_a_trusted_proxy_brings_the_connections_of_many(trusted: str) -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=8, trusted_proxies=(trusted,)) as port,
            AsyncExitStack() as stack,
        ):
            for _ in range(4):
                assert await is_answered(await stack.enter_async_context(a_connection(port)))

    run(work())


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", UNENDING["another protocol"]])
def test_what_anybody_can_send_is_not_logged(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(head)
            await to_the_end(client)

    with caplog.at_level(logging.WARNING):
        run(work())

    assert caplog.records == []
