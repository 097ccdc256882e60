"""Clients offer to change the protocol of a connection; the server may ignore the offer (RFC 9110, 7.8)."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from support.raw_http import answers_to, raw_connection
from support.serving import running

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WEBSOCKET = f"Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"
BODY = "x" * 3_000  # more than one piece of the server's parser

OFFERS = {
    "h2c as Java offers it": H2C,
    "h2c, no other header": "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "a list of protocols": "Connection: Upgrade\r\nUpgrade: h2c, TLS/1.3\r\n",
    "two lines of protocols": "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\nUpgrade: IRC/6.9\r\n",
    "an unknown protocol": "Connection: Upgrade\r\nUpgrade: example/1\r\n",
    "a name that begins like ours": "Connection: Upgrade\r\nUpgrade: websockets\r\n",
    "mixed case": "CONNECTION: uPGRADE\r\nUPGRADE: H2C\r\n",
    "with keep-alive": "Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n",
    "two Connection lines": "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n",
    "no option Upgrade": "Upgrade: websocket\r\n",
    "no Upgrade": "Connection: Upgrade\r\n",
}


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {len(await request.body())}")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = Starlette(
        routes=[
            Route("/hello", hello, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
            WebSocketRoute("/echo", echo),
        ]
    )
    with running(app) as address:
        yield address


def a_request(method: str, offer: str, *, framing: str = "", path: str = "/hello") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: engine\r\n{offer}{framing}\r\n".encode()


def with_length(method: str, offer: str) -> bytes:
    return a_request(method, offer, framing=f"Content-Length: {len(BODY)}\r\n") + BODY.encode()


def chunked(method: str, offer: str) -> bytes:
    chunk = f"{len(BODY):x}\r\n{BODY}\r\n"
    return (
        a_request(method, offer, framing="Transfer-Encoding: chunked\r\n")
        + f"{chunk}{chunk}0\r\n\r\n".encode()
    )


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_an_offer_is_ignored_and_the_request_is_answered(
    address: str, method: str, offer: str
) -> None:
    request = a_request(method, offer)

    answers = asyncio.run(answers_to(address, request * 3, count=3))

    assert [(each.status, each.body) for each in answers] == [(200, f"{method} 0")] * 3


@pytest.mark.parametrize("offer", [*OFFERS.values(), WEBSOCKET], ids=[*OFFERS, "websocket"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_read_whatever_protocol_was_offered_with_it(
    address: str, method: str, offer: str
) -> None:
    requests = with_length(method, offer) + chunked(method, offer) + with_length(method, "")

    answers = asyncio.run(answers_to(address, requests, count=3))

    sizes = [len(BODY), 2 * len(BODY), len(BODY)]
    assert [(each.status, each.body) for each in answers] == [
        (200, f"{method} {size}") for size in sizes
    ]


def test_a_body_is_read_however_it_is_cut(address: str) -> None:
    async def one_byte_at_a_time() -> tuple[int, str]:
        async with raw_connection(address) as connection:
            for byte in with_length("POST", H2C):
                await connection.send(bytes([byte]))
            answer = await connection.answer()
            return answer.status, answer.body

    assert asyncio.run(one_byte_at_a_time()) == (200, f"POST {len(BODY)}")


def test_a_client_that_waits_for_100_continue_gets_it(address: str) -> None:
    async def work() -> tuple[int, str]:
        async with raw_connection(address) as connection:
            framing = f"Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n"
            await connection.send(a_request("POST", H2C, framing=framing))
            assert (await connection.answer()).status == 100
            await connection.send(BODY.encode())
            answer = await connection.answer()
            return answer.status, answer.body

    assert asyncio.run(work()) == (200, f"POST {len(BODY)}")


def test_an_offer_of_http_1_0_is_ignored(address: str) -> None:
    request = a_request("GET", WEBSOCKET).replace(b"HTTP/1.1", b"HTTP/1.0")

    [answer] = asyncio.run(answers_to(address, request))

    assert (answer.status, answer.body) == (200, "GET 0")


@pytest.mark.parametrize(
    "lines",
    [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: WebSocket\r\n",
        "Connection: UPGRADE\r\nUpgrade: WEBSOCKET\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\nConnection: , Upgrade ,\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket,h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: WebSocket\r\n",
    ],
)
def test_an_offer_of_websocket_is_accepted(address: str, lines: str) -> None:
    [answer] = asyncio.run(answers_to(address, a_request("GET", lines + KEY, path="/echo")))

    assert (answer.status, answer.headers["upgrade"].lower()) == (101, "websocket")


def test_a_websocket_may_follow_an_offer_that_was_ignored(address: str) -> None:
    async def work() -> list[int]:
        async with raw_connection(address) as connection:
            statuses = []
            for request in (with_length("POST", H2C), a_request("GET", WEBSOCKET, path="/echo")):
                await connection.send(request)
                statuses.append((await connection.answer()).status)
            return statuses

    assert asyncio.run(work()) == [200, 101]


@pytest.mark.parametrize(
    "offer", ["v1", "v1, v2", "graphql-ws", "v1\r\nSec-WebSocket-Protocol: v2"]
)
def test_no_subprotocol_is_chosen(address: str, offer: str) -> None:
    """A browser fails such a connection itself; see docs/streams.md."""
    lines = f"{WEBSOCKET}Sec-WebSocket-Protocol: {offer}\r\n"

    [answer] = asyncio.run(answers_to(address, a_request("GET", lines, path="/echo")))

    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.headers
