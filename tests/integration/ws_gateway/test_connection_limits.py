"""The limits on open sockets: for the process, an address and a key."""

from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.settings import WsGatewaySettings
from order_engine.serving.server import serving, serving_public
from order_engine.ws_gateway.app import ws_gateway_app
from support.ports import free_port
from support.stores import Databases, Stores
from support.streaming import (
    close_code,
    create_key,
    metric_value,
    next_messages,
    open_multiplexed_socket,
    open_unknown_order,
    run,
    send_command,
    subscribed_ws_gateway,
    until,
    with_key,
)


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ("process", "ws_connections_max"),
        ("address", "ws_connections_per_address"),
        ("key", "ws_connections_per_key"),
    ],
)
def test_a_socket_above_a_limit_is_closed_with_4429_until_another_closes(
    databases: Databases, stores: Stores, keys: ApiKeys, limit: str, setting: str
) -> None:
    async def work(address: str) -> None:
        key = await create_key(keys)
        refused = metric_value("order_engine_ws_connections_refused_total", limit=limit)
        async with AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(open_multiplexed_socket(address, **with_key(key)))
                for _ in range(3)
            ]
            for socket in sockets:
                await send_command(socket, "subscribe", "x")
                await next_messages(socket, 1)
            open_sockets = metric_value("order_engine_ws_connections")
            assert await close_code(open_multiplexed_socket(address, **with_key(key))) == 4429
            assert (
                metric_value("order_engine_ws_connections_refused_total", limit=limit)
                == refused + 1
            )
            await sockets[0].close()
            await until(lambda: metric_value("order_engine_ws_connections") == open_sockets - 1)
            async with open_multiplexed_socket(address, **with_key(key)) as socket:
                await send_command(socket, "subscribe", "x")
                await next_messages(socket, 1)

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, auth="keys", **{setting: 3}
    ) as address:
        run(work(address))


@pytest.mark.parametrize(("spare", "answer"), [(0, 503), (1, 4429)])
def test_a_socket_above_the_process_limit_still_gets_its_close_code(
    databases: Databases,
    stores: Stores,
    spare: int,
    answer: int,
) -> None:
    port = free_port()
    settings = WsGatewaySettings(
        _env_file=None,
        database_url=databases.orders_url,
        redis_url=stores.redis_url,
        ws_connections_max=2,
    )

    async def work() -> None:
        address = f"127.0.0.1:{port}"
        app = ws_gateway_app(settings)
        async with (
            app.router.lifespan_context(app),
            serving_public(app, host="127.0.0.1", port=port, connections_max=2 + spare),
            AsyncExitStack() as stack,
        ):
            for _ in range(2):
                socket = await stack.enter_async_context(open_multiplexed_socket(address))
                await send_command(socket, "subscribe", "x")
                await next_messages(socket, 1)

            assert await refusal_of(open_multiplexed_socket(address)) == answer

    run(work())


async def refusal_of(connection: connect) -> int | None:
    """The code that the socket is closed with, or the HTTP status that refuses its handshake."""
    try:
        return await close_code(connection)
    except InvalidStatus as refused:
        return refused.response.status_code


def test_the_limit_of_a_key_does_not_affect_another_key(
    databases: Databases, stores: Stores, keys: ApiKeys
) -> None:
    async def work(address: str) -> None:
        full_key, other_key = await create_key(keys), await create_key(keys)
        async with open_multiplexed_socket(address, **with_key(full_key)) as socket:
            await send_command(socket, "subscribe", "x")
            await next_messages(socket, 1)
            assert await close_code(open_multiplexed_socket(address, **with_key(full_key))) == 4429
            assert await close_code(open_unknown_order(address, **with_key(other_key))) == 4404

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, auth="keys", ws_connections_per_key=1
    ) as address:
        run(work(address))


@pytest.mark.parametrize(
    ("trusted", "second", "code"),
    [
        ((), "192.0.2.2", 4429),
        (("192.0.2.0/24",), "192.0.2.2", 4429),
        (("127.0.0.1",), "192.0.2.2", 4404),
        (("127.0.0.1",), "192.0.2.1", 4429),
        (("127.0.0.1",), "192.0.2.2, 192.0.2.1", 4429),
        (("127.0.0.0/8", "10.0.0.1"), "192.0.2.1, 10.0.0.1", 4429),
        (("*",), "192.0.2.2", 4404),
    ],
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    databases: Databases, stores: Stores, trusted: tuple[str, ...], second: str, code: int
) -> None:
    settings = WsGatewaySettings(
        _env_file=None,
        database_url=databases.orders_url,
        redis_url=stores.redis_url,
        ws_connections_per_address=1,
    )

    async def work() -> None:
        app, port = ws_gateway_app(settings), free_port()
        async with (
            app.router.lifespan_context(app),
            serving(app, host="127.0.0.1", port=port, trusted_proxies=trusted),
        ):
            address = f"127.0.0.1:{port}"
            first = {"X-Forwarded-For": "192.0.2.1"}
            async with open_multiplexed_socket(address, additional_headers=first) as socket:
                await send_command(socket, "subscribe", "x")
                await next_messages(socket, 1)
                forwarded = {"X-Forwarded-For": second}
                assert (
                    await close_code(open_unknown_order(address, additional_headers=forwarded))
                    == code
                )

    run(work())
