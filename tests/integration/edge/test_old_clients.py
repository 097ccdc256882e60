"""Clients of HTTP/1.0, as many health checks are, send no Host."""

import asyncio

from support.edge import Engine
from support.raw_http import raw_connection


def test_a_client_of_http_1_0_without_a_host_is_answered(engine: Engine) -> None:
    async def work() -> None:
        async with raw_connection(engine.api) as connection:
            await connection.send(b"GET /health HTTP/1.0\r\n\r\n")

            assert (await connection.answer()).status == 200

    asyncio.run(work())
