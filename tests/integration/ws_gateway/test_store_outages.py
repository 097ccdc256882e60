"""Streams of one order while Redis or PostgreSQL does not answer."""

import asyncio
from pathlib import Path

import redis

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.orders.repository import Orders
from support.driven_orders import place_order
from support.redis_process import RedisProcess, redis_process
from support.serving import a_closed_port
from support.stores import Databases, Stores
from support.streaming import (
    NEVER_S,
    OFTEN_S,
    UNKNOWN,
    Announcer,
    next_messages,
    open_socket,
    read_seal,
    read_to_close,
    run,
    running_ws_gateway,
    subscribed_ws_gateway,
    subscriber_count,
    until,
)

S = OrderStatus


def test_without_redis_clients_get_all_events(databases: Databases, orders: Orders) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders)
        async with open_socket(address, order.order_id) as socket:
            await next_messages(socket, 1)
            seqs: list[int] = []
            for status in (S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED):
                await order.move(status)
                async with asyncio.timeout(3):
                    seqs += [each["seq"] for each in await next_messages(socket, 1)]

            assert seqs == [2, 3, 4, 5]
            assert await read_to_close(socket) == ([], 1000)

    with (
        a_closed_port() as port,
        running_ws_gateway(databases.orders_url, f"redis://127.0.0.1:{port}/0") as (address, _),
    ):
        run(work(address))


def test_a_lost_subscription_is_restored_and_loses_no_event(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str, client: redis.Redis) -> None:
        announcer = Announcer(Publisher(client), read_seal(databases.orders_url))
        order = await place_order(orders)
        async with open_socket(address, order.order_id) as socket:
            await next_messages(socket, 1)
            client.client_kill_filter(_type="pubsub")
            await announcer.announce(await order.move(S.ROUTING))
            async with asyncio.timeout(3):
                [missed] = await next_messages(socket, 1)
            await until(lambda: subscriber_count(client, channel(order.order_id)) == 1)
            await announcer.wait_until_received(order.order_id)
            await order.advance(to=S.CONFIRMED)

            assert missed["seq"] == 2
            assert await read_to_close(socket) == ([3, 4, 5], 1000)

    with (
        redis_process(tmp_path) as redis_server,
        redis_server.client() as client,
        subscribed_ws_gateway(
            databases.orders_url, redis_server.url, ws_position_check_s=OFTEN_S
        ) as address,
    ):
        run(work(address, client))


def test_the_loss_of_redis_is_detected_at_once(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str, redis_server: RedisProcess) -> None:
        order = await place_order(orders)
        async with open_socket(address, order.order_id) as socket:
            await next_messages(socket, 1)
            redis_server.kill()
            await order.advance(to=S.CONFIRMED)

            # without a detected loss, the next position check is an hour away
            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    with (
        redis_process(tmp_path) as redis_server,
        subscribed_ws_gateway(
            databases.orders_url, redis_server.url, ws_position_check_s=NEVER_S
        ) as address,
    ):
        run(work(address, redis_server))


def test_the_ws_gateway_subscribes_again_when_redis_restarts(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str, redis_server: RedisProcess) -> None:
        order = await place_order(orders)
        async with open_socket(address, order.order_id) as socket:
            await next_messages(socket, 1)
            redis_server.kill()
            await order.move(S.ROUTING)
            async with asyncio.timeout(3):
                [missed] = await next_messages(socket, 1)
            await asyncio.to_thread(redis_server.start)
            with redis_server.client() as client:
                await until(lambda: subscriber_count(client, channel(order.order_id)) == 1)
                announcer = Announcer(Publisher(client), read_seal(databases.orders_url))
                await announcer.wait_until_received(order.order_id)

            assert missed["seq"] == 2

    with (
        redis_process(tmp_path) as redis_server,
        subscribed_ws_gateway(
            databases.orders_url, redis_server.url, ws_position_check_s=OFTEN_S
        ) as address,
    ):
        run(work(address, redis_server))


def test_clients_get_all_events_while_redis_is_frozen(
    databases: Databases, orders: Orders, tmp_path: Path
) -> None:
    async def work(address: str, redis_server: RedisProcess) -> None:
        followed, other = await place_order(orders), await place_order(orders, at=S.BUILDING)
        async with open_socket(address, followed.order_id) as socket:
            await next_messages(socket, 1)
            redis_server.freeze()
            await followed.advance(to=S.CONFIRMED)
            async with asyncio.timeout(3):
                assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)
        async with asyncio.timeout(3), open_socket(address, other.order_id) as late:
            history = await next_messages(late, 3)
            await other.advance(to=S.CONFIRMED)

            assert [each["seq"] for each in history] == [1, 2, 3]
            assert await read_to_close(late) == ([4, 5], 1000)
        redis_server.thaw()

    with (
        redis_process(tmp_path) as redis_server,
        subscribed_ws_gateway(
            databases.orders_url, redis_server.url, ws_position_check_s=OFTEN_S
        ) as address,
    ):
        run(work(address, redis_server))


def test_without_postgresql_a_client_is_asked_to_reconnect(stores: Stores) -> None:
    async def work(address: str) -> None:
        async with open_socket(address, UNKNOWN) as socket:
            assert await read_to_close(socket) == ([], 1012)

    with a_closed_port() as port:
        unreachable_url = f"postgresql://nobody@127.0.0.1:{port}/orders"
        with running_ws_gateway(unreachable_url, stores.redis_url) as (address, _):
            run(work(address))
