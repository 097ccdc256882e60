"""Clients that are late with what they send, or do not read what they are sent."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.uri import parse_uri

from order_engine.serving import bounds as connection_bounds
from order_engine.serving import websocket as connections
from order_engine.serving.server import serving
from support.ports import free_port
from support.waiting import wait_until

HEAD = b"GET /hello HTTP/1.1\r\nHost: engine\r\n"
SOON_S = 0.2


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def flood_and_leave(websocket: WebSocket) -> None:
    """Sends until something stays unsent, so that a close that waits for the client would hang."""
    await websocket.accept()
    wire: connections.WebSocketConnection = websocket.scope["state"][connections.WIRE]
    while wire.unsent_bytes == 0:
        await websocket.send_text("x" * 1_024)
        await asyncio.sleep(0)
    websocket.app.state.flooded.set()


async def flood_and_close(websocket: WebSocket) -> None:
    await flood_and_leave(websocket)
    wire: connections.WebSocketConnection = websocket.scope["state"][connections.WIRE]
    wire.finish(1000, within_s=SOON_S)


async def flood_and_listen(websocket: WebSocket) -> None:
    await flood_and_leave(websocket)
    await websocket.receive()


@asynccontextmanager
async def a_server(flooded: asyncio.Event | None = None) -> AsyncIterator[int]:
    """The port of a server; `flooded` is set when its client has left something unread."""
    port = free_port()
    app = Starlette(
        routes=[
            Route("/hello", hello),
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/flood-and-leave", flood_and_leave),
            WebSocketRoute("/flood-and-close", flood_and_close),
            WebSocketRoute("/flood-and-listen", flood_and_listen),
        ]
    )
    app.state.flooded = flooded
    async with serving(app, host="127.0.0.1", port=port):
        yield port


@asynccontextmanager
async def a_connection(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


def count(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_bounds, "HEAD_WITHIN_S", SOON_S)
    monkeypatch.setattr(connection_bounds, "CLOSE_WITHIN_S", SOON_S)


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("sent", [b"", b"G", HEAD, HEAD + b"Upgrade: websocket\r\n"])
def test_a_late_head_ends_the_connection(sent: bytes) -> None:
    async def work() -> None:
        before = count("order_engine_connections_late_total")
        async with asyncio.timeout(30), a_server() as port, a_connection(port) as (reader, writer):
            writer.write(sent)
            assert await is_ended(reader)
        assert count("order_engine_connections_late_total") == before + 1

    asyncio.run(work())


@pytest.mark.usefixtures("_soon")
def test_a_head_that_arrives_too_slowly_ends_the_connection() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(SOON_S / 4)

    async def work() -> None:
        async with asyncio.timeout(30), a_server() as port, a_connection(port) as (reader, writer):
            writer.write(HEAD)
            dripping = asyncio.create_task(drip(writer))
            assert await is_ended(reader)
            dripping.cancel()

    asyncio.run(work())


@pytest.mark.usefixtures("_soon")
def test_a_late_head_of_a_later_request_ends_the_connection() -> None:
    async def work() -> None:
        async with asyncio.timeout(30), a_server() as port, a_connection(port) as (reader, writer):
            writer.write(HEAD + b"\r\n" + HEAD)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert await is_ended(reader)

    asyncio.run(work())


@pytest.mark.usefixtures("_soon")
def test_a_connection_may_be_idle_between_requests_and_a_websocket_after_its_handshake() -> None:
    async def work() -> None:
        before = count("order_engine_connections_late_total")
        async with (
            asyncio.timeout(30),
            a_server() as port,
            a_connection(port) as (reader, writer),
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as idle,
            a_connection(port) as (late, _),
        ):
            writer.write(HEAD + b"\r\n")
            await reader.readuntil(b"hello")
            assert await is_ended(late)  # the time for a head has passed
            writer.write(HEAD + b"\r\n")
            await reader.readuntil(b"hello")
            await idle.send("still here")
            assert await idle.recv() == "still here"
        assert count("order_engine_connections_late_total") == before + 1

    asyncio.run(work())


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("path", ["/flood-and-leave", "/flood-and-close", "/flood-and-listen"])
def test_a_client_that_does_not_read_is_cut_off(path: str) -> None:
    async def work() -> None:
        before, flooded = count("order_engine_ws_connections_cut_off_total"), asyncio.Event()
        async with asyncio.timeout(60), a_server(flooded) as port:
            with await asyncio.to_thread(a_client_that_does_not_read, port, path) as client:
                await flooded.wait()
                if path == "/flood-and-listen":
                    client.shutdown(socket.SHUT_WR)
                await asyncio.to_thread(
                    wait_until,
                    lambda: count("order_engine_ws_connections_cut_off_total") == before + 1,
                    timeout_s=30,
                )

    asyncio.run(work())


def test_a_message_whose_fragments_are_late_ends_the_websocket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dripped() -> AsyncIterator[str]:
        while True:
            yield "x"
            await asyncio.sleep(SOON_S / 4)

    async def work() -> None:
        ended = (
            REGISTRY.get_sample_value("order_engine_connections_ended_total", {"bound": "message"})
            or 0.0
        )
        async with (
            asyncio.timeout(30),
            a_server() as port,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as whole,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as dripping,
        ):
            await whole.send(["still ", "here"])
            assert await whole.recv() == "still here"
            monkeypatch.setattr(connection_bounds, "MESSAGE_WITHIN_S", SOON_S)
            with pytest.raises(ConnectionClosed):
                await dripping.send(dripped())
            assert dripping.close_code == 1008
            await whole.send(["still ", "here"])
            assert await whole.recv() == "still here"
        assert REGISTRY.get_sample_value(
            "order_engine_connections_ended_total", {"bound": "message"}
        ) == (ended + 1)

    asyncio.run(work())


def a_client_that_does_not_read(port: int, path: str) -> socket.socket:
    """A WebSocket client that reads the handshake and nothing after it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    client.connect(("127.0.0.1", port))
    protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}{path}"))
    protocol.send_request(protocol.connect())
    client.sendall(b"".join(protocol.data_to_send()))
    while not protocol.events_received():
        protocol.receive_data(client.recv(1_024))
    return client


def test_the_last_ping_of_a_client_that_does_not_read_is_answered_later() -> None:
    """Answers to all of them would fill the memory; RFC 6455, 5.5.3, asks for the last only."""

    async def work() -> None:
        async with (
            asyncio.timeout(60),
            a_server() as port,
            connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as client,
        ):
            echoes = [asyncio.create_task(client.send("x" * 16_000)) for _ in range(50)]
            pongs = [await client.ping() for _ in range(50)]
            received = [await client.recv() for _ in echoes]
            await asyncio.gather(*echoes, *pongs)

        assert received == ["x" * 16_000] * 50

    asyncio.run(work())
