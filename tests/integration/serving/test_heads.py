"""Which heads of requests are refused (RFC 9110 and 9112)."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from support.raw_http import raw_connection
from support.serving import running

HOST = "Host: engine\r\n"
CHUNKED = "5\r\nhello\r\n0\r\n\r\n"

# a head, its body, and the status of the answer
REFUSED = {
    "two Host lines that differ": ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "", 400),
    "two Host lines that agree": ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "", 400),
    "two Host lines apart": ("GET / HTTP/1.1\r\nhost: a\r\nX: y\r\nHOST: b\r\n", "", 400),
    "two Host lines of HTTP/1.0": ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", "", 400),
    "no Host": ("GET / HTTP/1.1\r\n", "", 400),
    "no Host, a whole URL": ("GET http://engine/ HTTP/1.1\r\n", "", 400),
    "no Host, a POST": ("POST / HTTP/1.1\r\nContent-Length: 5\r\n", "hello", 400),
    "Host with a blank": ("GET / HTTP/1.1\r\nHost: a b\r\n", "", 400),
    "Host is a list": ("GET / HTTP/1.1\r\nHost: a, b\r\n", "", 400),
    "Host with a path": ("GET / HTTP/1.1\r\nHost: a/b\r\n", "", 400),
    "Host with a user": ("GET / HTTP/1.1\r\nHost: user@a\r\n", "", 400),
    "Host with a scheme": ("GET / HTTP/1.1\r\nHost: http://a\r\n", "", 400),
    "Host with letters as its port": ("GET / HTTP/1.1\r\nHost: a:http\r\n", "", 400),
    "Host with two ports": ("GET / HTTP/1.1\r\nHost: a:1:2\r\n", "", 400),
    "Host is IPv6 without brackets": ("GET / HTTP/1.1\r\nHost: ::1\r\n", "", 400),
    "Host is not ASCII": ("GET / HTTP/1.1\r\nHost: börse\r\n", "", 400),
    "gzip, chunked": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n",
        CHUNKED,
        501,
    ),
    "gzip and chunked as two lines": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        CHUNKED,
        501,
    ),
    "identity, chunked": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: identity, chunked\r\n",
        CHUNKED,
        501,
    ),
    "an unknown coding": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: x-own;q=1, Chunked\r\n",
        CHUNKED,
        501,
    ),
    "gzip alone": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n", "", 400),
    "chunked, gzip": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, gzip\r\n", "", 400),
    "chunked twice": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, chunked\r\n",
        CHUNKED,
        400,
    ),
    "chunked in HTTP/1.0": (
        f"POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n",
        CHUNKED,
        400,
    ),
    "Content-Length, then Transfer-Encoding": (
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        CHUNKED,
        400,
    ),
    "Transfer-Encoding, then Content-Length": (
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        CHUNKED,
        400,
    ),
    "Content-Lengths that differ": (
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 6\r\n",
        "hello",
        400,
    ),
    "a list of Content-Lengths": (
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5, 6\r\n",
        "hello",
        400,
    ),
    "a Content-Length with a sign": (
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: +5\r\n",
        "hello",
        400,
    ),
    "a blank before the colon": (f"GET / HTTP/1.1\r\n{HOST}X : y\r\n", "", 400),
    "HTTP/2 without an upgrade": ("PRI * HTTP/2.0\r\n", "SM\r\n\r\n", 400),
    "a head of HTTP/2": (f"GET / HTTP/2.0\r\n{HOST}", "", 505),
    "a head of HTTP/0.9": (f"GET / HTTP/0.9\r\n{HOST}", "", 505),
}

ACCEPTED = {
    "a name": "GET / HTTP/1.1\r\nHost: engine\r\n",
    "a name and a port": "GET / HTTP/1.1\r\nHost: engine.example:3000\r\n",
    "an empty port": "GET / HTTP/1.1\r\nHost: engine:\r\n",
    "an empty Host": "GET / HTTP/1.1\r\nHost:\r\n",
    "underscores": "GET / HTTP/1.1\r\nHost: order_engine.local\r\n",
    "an IPv4 address": "GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n",
    "an IPv6 address": "GET / HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:3000\r\n",
    "an IPv6 address with a zone": "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n",
    "an escaped name": "GET / HTTP/1.1\r\nHost: b%C3%B6rse\r\n",
    "a whole URL": "GET http://engine/ HTTP/1.1\r\nHost: engine\r\n",
    "HTTP/1.0 without Host": "GET / HTTP/1.0\r\n",
    "HTTP/1.0 with Host": "GET / HTTP/1.0\r\nHost: engine\r\n",
}


async def body_of(request: Request) -> Response:
    return PlainTextResponse((await request.body()).decode())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(Starlette(routes=[Route("/", body_of, methods=["GET", "POST"])])) as address:
        yield address


@pytest.mark.parametrize(("head", "body", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_head_is_refused(address: str, head: str, body: str, status: int) -> None:
    async def work() -> None:
        async with raw_connection(address) as connection:
            await connection.send(f"{head}\r\n{body}".encode())
            answer = await connection.answer()

            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert answer.body
            assert "\n" not in answer.body
            assert await connection.rest() == b""

    asyncio.run(work())


@pytest.mark.parametrize("head", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_head_is_accepted(address: str, head: str) -> None:
    async def work() -> int:
        async with raw_connection(address) as connection:
            await connection.send(f"{head}\r\n".encode())
            return (await connection.answer()).status

    assert asyncio.run(work()) == 200


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked ", ", chunked"])
def test_a_chunked_body_is_accepted(address: str, coding: str) -> None:
    async def work() -> tuple[int, str]:
        async with raw_connection(address) as connection:
            head = f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: {coding}\r\n\r\n"
            await connection.send((head + CHUNKED).encode())
            answer = await connection.answer()
            return answer.status, answer.body

    assert asyncio.run(work()) == (200, "hello")
