"""Clients that send too much, hold too many connections, or do not read their answers."""

import asyncio
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
from order_engine.serving.process import run
from order_engine.serving.server import serving
from support.ports import free_port
from support.waiting import CHECK_EVERY_S

WITHIN_S = 30
SOON_S = 0.2
HEAD = b"GET /hello HTTP/1.1\r\nHost: engine\r\n"
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LINE = b"X: y\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def sent(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def read_all(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def much(_: Request) -> Response:
    return PlainTextResponse("x" * 200_000)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


APP = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/read", read_all, methods=["POST"]),
        Route("/much", much),
        WebSocketRoute("/echo", echo),
    ]
)


@asynccontextmanager
async def a_server(
    *, connections_max: int = 100, trusted_proxies: Sequence[str] = (), keep_alive_s: int = 75
) -> AsyncIterator[int]:
    port = free_port()
    async with serving(
        APP,
        host="127.0.0.1",
        port=port,
        connections_max=connections_max,
        trusted_proxies=trusted_proxies,
        keep_alive_s=keep_alive_s,
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
    """Sends until the server ends the connection."""
    _, writer = connection
    with suppress(ConnectionError):
        for _ in range(times):
            writer.write(data)
            await writer.drain()


async def read_to_end(connection: Connection) -> bytes:
    """All bytes until the server ends the connection."""
    reader, _ = connection
    received = b""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            received += data
    return received


def ended(bound: str) -> float:
    return (
        REGISTRY.get_sample_value("order_engine_connections_ended_total", {"bound": bound}) or 0.0
    )


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("HEAD_WITHIN_S", "UNREAD_WITHIN_S", "LINGER_WITHIN_S", "CLOSE_WITHIN_S"):
        monkeypatch.setattr(connection_bounds, bound, SOON_S)


def test_other_clients_are_answered_while_one_floods() -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server() as port,
            a_connection(port) as client,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as other,
        ):
            await a_socket(client)
            reading = asyncio.create_task(read_to_end(client))
            flooding = asyncio.create_task(flood(client, sent(Opcode.TEXT) * 20_000))
            for _ in range(5):
                await other.send("still here")
                assert await other.recv() == "still here"
            assert not flooding.done()
            for task in (flooding, reading):
                task.cancel()

    run(work())


TOO_LARGE = {
    "lines": HEAD + LINE * 110,
    "a value": HEAD + b"X: " + b"y" * 20_000,
    "a path": b"GET /" + b"y" * 20_000,
    "an upgrade": UPGRADE + LINE * 110,
    "a later one": HEAD + b"\r\n" + HEAD + b"X: " + b"y" * 20_000,
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_head_that_is_too_large_is_refused_with_431(kind: str) -> None:
    async def work() -> None:
        before = ended("head")
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            if kind == "a later one":
                client[1].write(HEAD + b"\r\n")
                await client[0].readuntil(b"hello")
            client[1].write(TOO_LARGE[kind].removeprefix(HEAD + b"\r\n"))

            assert (await read_to_end(client)).startswith(b"HTTP/1.1 431 ")
        assert ended("head") == before + 1

    run(work())


def test_a_head_and_a_body_below_the_limits_are_accepted() -> None:
    async def work() -> None:
        head = b"POST /read HTTP/1.1\r\nHost: engine\r\nContent-Length: 300000\r\n"
        head += b"X: " + b"y" * 12_000 + b"\r\n" + LINE * 90
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            for _ in range(2):
                client[1].write(head + b"\r\n" + b"z" * 300_000)

                assert (await client[0].readuntil(b"300000")).startswith(b"HTTP/1.1 200 ")

    run(work())


UNFINISHED = {
    "an empty line": HEAD + b"\r\n\r\n",
    "a body after the answer": HEAD + b"Content-Length: 1000000\r\n\r\nx",
    "another protocol": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("kind", UNFINISHED)
def test_a_client_cannot_keep_an_answered_connection_open(kind: str) -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(keep_alive_s=1) as port,
            a_connection(port) as client,
        ):
            client[1].write(UNFINISHED[kind])

            assert (await read_to_end(client)).endswith(b"hello")

    run(work())


def test_an_early_answer_arrives_whole_with_connection_close() -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(HEAD + b"Content-Length: 1000000\r\n\r\n")
            sending = asyncio.create_task(flood(client, b"x" * 10_000, times=50))
            answer = await read_to_end(client)
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
def test_an_invalid_upgrade_is_answered(kind: str) -> None:
    async def work() -> None:
        line, status = REFUSED_UPGRADES[kind]
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(UPGRADE + line + b"\r\n")

            assert (await read_to_end(client)).startswith(b"HTTP/1.1 " + status)

    run(work())


@pytest.mark.usefixtures("_soon")
def test_a_client_that_does_not_read_its_answers_is_ended() -> None:
    async def work() -> None:
        before, client = ended("unread"), socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        with client:
            async with asyncio.timeout(WITHIN_S), a_server() as port:
                client.connect(("127.0.0.1", port))
                client.sendall((HEAD.replace(b"hello", b"much") + b"\r\n") * 10)
                while ended("unread") == before:
                    await asyncio.sleep(0.01)

    run(work())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write((HEAD + b"\r\n") * connection_bounds.PIPELINED_MAX)
            for _ in range(connection_bounds.PIPELINED_MAX):
                await client[0].readuntil(b"hello")

    run(work())


def test_too_many_pipelined_requests_end_the_connection() -> None:
    async def work() -> None:
        before = ended("requests")
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write((HEAD + b"\r\n") * (connection_bounds.PIPELINED_MAX * 10))
            await read_to_end(client)
        assert ended("requests") == before + 1

    run(work())


def test_connections_above_the_maximum_are_refused_with_503() -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=2) as port,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as websocket,
            a_connection(port) as kept,
            a_connection(port) as refused,
        ):
            assert (await read_to_end(refused)).startswith(b"HTTP/1.1 503 ")
            kept[1].write(HEAD + b"\r\n")
            await kept[0].readuntil(b"hello")
            await websocket.send("still here")
            assert await websocket.recv() == "still here"

    run(work())


REFUSED = {
    "a head that is too large": (TOO_LARGE["lines"], b"431 Request Header Fields Too Large"),
    "an unknown method": (HEAD.replace(b"GET", b"GOT") + b"\r\n", b"400 Bad Request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", b"400 Bad Request"),
    "a connection above the maximum": (b"", b"503 Service Unavailable"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_before_the_application_is_plain_text(kind: str) -> None:
    sent_bytes, status = REFUSED[kind]

    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=0 if status.startswith(b"503") else 100) as port,
            a_connection(port) as client,
        ):
            client[1].write(sent_bytes)
            head, _, body = (await read_to_end(client)).partition(b"\r\n\r\n")

        assert head.splitlines() == [
            b"HTTP/1.1 " + status,
            b"content-type: text/plain",
            b"content-length: %d" % len(body),
            b"connection: close",
        ]
        assert body == status[4:]

    run(work())


async def is_answered(connection: Connection) -> bool:
    connection[1].write(HEAD + b"\r\n")
    return b" 200 " in await connection[0].readuntil(b"\r\n")


def test_one_address_holds_at_most_a_fourth_of_the_connections() -> None:
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
                assert (await read_to_end(refused)).startswith(b"HTTP/1.1 503 ")
            assert ended("address") == before + 1
            async with a_connection(port, address="127.0.0.2") as other:
                assert await is_answered(other)
            left[1].write(HEAD + b"Connection: close\r\n\r\n")
            await read_to_end(left)
            async with a_connection(port) as another:
                assert await is_answered(another)

    run(work())


def test_a_connection_that_became_a_websocket_no_longer_counts_for_its_address() -> None:
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
def test_connections_of_a_trusted_proxy_are_not_limited(trusted: str) -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            a_server(connections_max=8, trusted_proxies=(trusted,)) as port,
            AsyncExitStack() as stack,
        ):
            for _ in range(4):
                assert await is_answered(await stack.enter_async_context(a_connection(port)))

    run(work())


@pytest.mark.parametrize(
    "head",
    [b"nonsense\r\n\r\n", HEAD + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"],
)
def test_malformed_input_is_not_logged(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with asyncio.timeout(WITHIN_S), a_server() as port, a_connection(port) as client:
            client[1].write(head)
            await read_to_end(client)

    with caplog.at_level(logging.WARNING):
        run(work())

    assert caplog.records == []


def test_the_date_of_answers_advances() -> None:
    async def date(port: int) -> bytes:
        async with a_connection(port) as connection:
            connection[1].write(HEAD + b"Connection: close\r\n\r\n")
            head = await read_to_end(connection)
            [line] = [line for line in head.split(b"\r\n") if line.startswith(b"date: ")]
            return line

    async def work() -> None:
        async with a_server() as port, asyncio.timeout(WITHIN_S):
            first = await date(port)
            while await date(port) == first:
                await asyncio.sleep(CHECK_EVERY_S)

    asyncio.run(work())
