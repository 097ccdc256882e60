"""Load balancers keep connections to the gateways, and reuse them for as long as they are open."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from order_engine.execution.settings import GatewaySettings, WsGatewaySettings
from order_engine.gateway import main as gateway
from order_engine.ws_gateway import main as ws_gateway
from support.ports import free_port
from support.raw_http import RawConnection, raw_connection
from support.stores import Databases
from support.waiting import CHECK_EVERY_S

GATEWAYS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "gateway": lambda **given: gateway.serve(GatewaySettings(_env_file=None, **given)),
    "ws-gateway": lambda **given: ws_gateway.serve(WsGatewaySettings(_env_file=None, **given)),
}
REQUEST = b"GET /health HTTP/1.1\r\nHost: engine\r\n\r\n"


async def answered(address: str) -> None:
    while True:
        with suppress(OSError):
            async with raw_connection(address) as connection:
                await is_answered(connection)
                return
        await asyncio.sleep(CHECK_EVERY_S)


async def is_answered(connection: RawConnection) -> bool:
    await connection.send(REQUEST)
    return (await connection.answer()).status == 200


@pytest.mark.parametrize("name", GATEWAYS)
def test_an_idle_connection_stays_open_for_as_long_as_the_setting_says(
    name: str, databases: Databases, redis_url: str
) -> None:
    async def work() -> None:
        port = free_port()
        address = f"127.0.0.1:{port}"
        serving = asyncio.create_task(
            GATEWAYS[name](
                database_url=databases.orders_url,
                redis_url=redis_url,
                port=port,
                admin_port=0,
                http_keep_alive_s=1,
            )
        )
        async with asyncio.timeout(30):
            await answered(address)
        loop = asyncio.get_running_loop()
        async with raw_connection(address) as connection:
            for _ in range(2):
                began = loop.time()
                assert await is_answered(connection)

            assert await connection.rest() == b""
            assert loop.time() - began >= 1
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(work())
