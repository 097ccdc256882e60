"""Bytes that are no HTTP, behind requests that are complete and inside one that is not."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from support.raw_http import raw_connection
from support.serving import served

HEAD = b"POST / HTTP/1.1\r\nHost: engine\r\n"
COMPLETE = HEAD + b"Content-Length: 5\r\n\r\nhello"
BEHIND = {
    "garbage": b"GARBAGE\r\n\r\n",
    "a head without Host": b"GET / HTTP/1.1\r\n\r\n",
    "a body of which no request is": b"hello",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "a head that is too large": b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000,
}
INSIDE = {
    "a size that is no number": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "a tab behind chunked": b"Transfer-Encoding: chunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer than its size": b"Transfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n",
}


async def late(request: Request) -> Response:
    body = await request.body()
    await asyncio.sleep(0)
    return PlainTextResponse(body)


APP = Starlette(routes=[Route("/", late, methods=["POST"])])


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", BEHIND)
def test_complete_requests_are_answered_before_the_connection_ends(name: str, count: int) -> None:
    async def work() -> None:
        async with served(APP) as address, raw_connection(address) as connection:
            await connection.send(COMPLETE * count + BEHIND[name])

            for _ in range(count):
                assert (await connection.answer()).status == 200
            await connection.rest()

    asyncio.run(work())


@pytest.mark.parametrize("name", INSIDE)
def test_a_request_that_turns_bad_is_answered_with_400(name: str) -> None:
    async def work() -> None:
        async with served(APP) as address, raw_connection(address) as connection:
            await connection.send(HEAD + INSIDE[name])

            assert (await connection.answer()).status == 400
            assert await connection.rest() == b""

    asyncio.run(work())
