"""A ws-gateway that stops closes its sockets one by one, so that clients reconnect."""

import asyncio
import signal
from pathlib import Path

import pytest

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import WsGatewaySettings
from order_engine.serving.server import serving
from order_engine.ws_gateway.app import ws_gateway_app
from support.driven_orders import place_order
from support.fleet import running_fleet
from support.ports import free_port
from support.stores import Databases, Stores
from support.streaming import (
    close_code,
    next_messages,
    next_seqs,
    open_multiplexed_socket,
    open_socket,
    read_to_close,
    run,
    subscribed_ws_gateway,
)

S = OrderStatus

EXIT_WITHIN_S = 30


def test_a_drain_closes_clients_one_by_one_while_the_others_continue(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    settings = WsGatewaySettings(
        _env_file=None, database_url=databases.orders_url, redis_url=stores.redis_url
    )

    async def work() -> None:
        app, port = ws_gateway_app(settings), free_port()
        address = f"127.0.0.1:{port}"
        order = await place_order(orders)
        async with (
            app.router.lifespan_context(app),
            serving(app, host="127.0.0.1", port=port),
        ):
            registry = app.state.services.registry
            sockets = [await open_socket(address, order.order_id) for _ in range(3)]
            for socket in sockets:
                await next_seqs(socket, 1)
            assert await registry.accepts()
            draining = asyncio.create_task(registry.drain(over_s=3600))
            assert await read_to_close(sockets[0]) == ([], 1012)
            assert not await registry.accepts()
            assert await close_code(open_socket(address, order.order_id)) == 1012
            assert await close_code(open_multiplexed_socket(address)) == 1012
            await order.move(S.ROUTING)
            for socket in sockets[1:]:
                assert await next_seqs(socket, 1) == [2]
            draining.cancel()
            await registry.drain(over_s=0)
            for socket in sockets[1:]:
                assert await read_to_close(socket) == ([], 1012)

    run(work())


def test_a_stopping_gateway_asks_its_clients_to_reconnect(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        with subscribed_ws_gateway(databases.orders_url, stores.redis_url) as address:
            socket = await open_socket(address, order.order_id)
            await next_messages(socket, 1)
            end = asyncio.create_task(read_to_close(socket))

        assert await end == ([], 1012)

    run(work())


@pytest.mark.fleet
def test_a_terminated_ws_gateway_is_not_ready_and_exits_when_its_last_socket_closes(
    databases: Databases, stores: Stores, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders)
        sockets = [await open_socket(address, order.order_id) for _ in range(2)]
        for socket in sockets:
            await next_seqs(socket, 1)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        assert await read_to_close(sockets[0]) == ([], 1012)
        assert not await asyncio.to_thread(gateway.is_ready)
        await order.move(S.ROUTING)
        assert await next_seqs(sockets[1], 1) == [2]
        await sockets[1].close()
        assert await asyncio.to_thread(gateway.process.wait, EXIT_WITHIN_S) == 0

    with running_fleet(
        databases, stores.redis_url, tmp_path, {"DRAIN_S": "3600"}, ["ws-gateway"]
    ) as fleet:
        gateway = fleet["ws-gateway"]
        run(work(f"127.0.0.1:{gateway.ports['PORT']}"))


@pytest.mark.fleet
def test_a_terminated_ws_gateway_exits_without_waiting_for_its_clients(
    databases: Databases, stores: Stores, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders)
        sockets = [await open_socket(address, order.order_id) for _ in range(20)]
        for socket in sockets:
            await next_seqs(socket, 1)
        assert await asyncio.to_thread(gateway.terminate) == 0
        for socket in sockets:
            assert await read_to_close(socket) == ([], 1012)

    with running_fleet(
        databases, stores.redis_url, tmp_path, {"DRAIN_S": "1"}, ["ws-gateway"]
    ) as fleet:
        gateway = fleet["ws-gateway"]
        run(work(f"127.0.0.1:{gateway.ports['PORT']}"))
