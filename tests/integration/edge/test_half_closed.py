"""Clients that close their side of the connection after a request, as `nc -N` and some libraries do."""

import asyncio

from support.edge import Engine
from support.raw_http import raw_connection

BODY = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"100","slippageTolerance":0.5}'


def test_an_order_is_acknowledged_to_a_client_that_has_half_closed(engine: Engine) -> None:
    async def work() -> None:
        head = (
            f"POST /api/orders/execute HTTP/1.1\r\nHost: {engine.api}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        for _ in range(20):
            async with raw_connection(engine.api) as connection:
                await connection.send(f"{head}{BODY}".encode())
                connection.end_sending()

                assert (await connection.answer()).status == 201
                assert await connection.rest() == b""

    asyncio.run(work())
