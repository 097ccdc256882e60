"""The stream of many orders over one socket."""

import asyncio
import json
from typing import Any

import pytest
import redis

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.channels import channel
from order_engine.execution.orders.repository import Orders
from support.driven_orders import DrivenOrder, place_order
from support.gateways import bearer_header
from support.serving import a_closed_port
from support.stores import Databases, Stores
from support.streaming import (
    NEVER_S,
    UNKNOWN,
    Announcer,
    is_followed,
    metric_value,
    next_messages,
    next_seqs,
    open_multiplexed_socket,
    read_to_close,
    run,
    running_ws_gateway,
    send_command,
    subscribed_ws_gateway,
    until,
)

S = OrderStatus


def an_end(order: DrivenOrder) -> dict[str, Any]:
    return {"type": "end", "orderId": str(order.order_id)}


def an_error(code: str, order_id: object = None) -> dict[str, Any]:
    error = {"type": "error", "code": code}
    return error if order_id is None else {**error, "orderId": str(order_id)}


def test_one_socket_carries_many_orders(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders) for _ in range(20)))
        seen: dict[str, list[int]] = {str(order.order_id): [] for order in placed}
        ended: set[str] = set()
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for order in placed:
                await send_command(socket, "subscribe", order.order_id)
            for order in placed:
                await announcer.announce(*await order.advance(to=S.CONFIRMED))
            while len(ended) < len(placed):
                [message] = await next_messages(socket, 1)
                if message.get("type") == "end":
                    ended.add(message["orderId"])
                else:
                    assert message["orderId"] not in ended
                    seen[message["orderId"]].append(message["seq"])

        assert all(seqs == [1, 2, 3, 4, 5] for seqs in seen.values())

    run(work())


@pytest.mark.parametrize("after", range(7))
def test_a_subscription_starts_after_the_given_seq(
    pubsub_gateway: str, orders: Orders, after: int
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order.order_id, after=after)
            *frames, end = await next_messages(socket, max(5 - after, 0) + 1)

        assert [each["seq"] for each in frames] == list(range(after + 1, 6))
        assert end == an_end(order)

    run(work())


def test_subscribing_again_moves_the_cursor(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.BUILDING)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order.order_id)
            assert await next_seqs(socket, 3) == [1, 2, 3]
            await send_command(socket, "subscribe", order.order_id, after=1)
            assert await next_seqs(socket, 2) == [2, 3]
            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            assert await next_seqs(socket, 2) == [4, 5]
            assert await next_messages(socket, 1) == [an_end(order)]
            await send_command(socket, "subscribe", order.order_id, after=4)
            assert await next_seqs(socket, 1) == [5]

    run(work())


def test_unsubscribing_stops_the_frames_of_that_order_only(
    pubsub_gateway: str, orders: Orders, announcer: Announcer, broker: redis.Redis
) -> None:
    async def work() -> None:
        left, kept = await place_order(orders), await place_order(orders)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for order in (left, kept):
                await send_command(socket, "subscribe", order.order_id)
                await next_messages(socket, 1)
            await send_command(socket, "unsubscribe", left.order_id)
            await until(lambda: not is_followed(broker, left.order_id))
            await announcer.announce(*await left.advance(to=S.CONFIRMED))
            await announcer.announce(*await kept.advance(to=S.CONFIRMED))
            *frames, end = await next_messages(socket, 5)

        assert {each["orderId"] for each in frames} == {str(kept.order_id)}
        assert end == an_end(kept)

    run(work())


def test_an_order_that_is_unsubscribed_at_once_stays_unsubscribed(
    pubsub_gateway: str, orders: Orders, announcer: Announcer, broker: redis.Redis
) -> None:
    async def work() -> None:
        order, other = await place_order(orders), await place_order(orders)
        seen: dict[str, list[int]] = {str(order.order_id): [], str(other.order_id): []}
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for op in ("subscribe", "unsubscribe") * 5:
                await send_command(socket, op, order.order_id)
            await send_command(socket, "subscribe", other.order_id)
            await until(lambda: is_followed(broker, other.order_id))
            await until(lambda: not is_followed(broker, order.order_id))
            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            await announcer.announce(*await other.advance(to=S.CONFIRMED))
            while (message := (await next_messages(socket, 1))[0]) != an_end(other):
                seen[message["orderId"]].append(message["seq"])

        assert seen[str(other.order_id)] == [1, 2, 3, 4, 5]
        # a subscription may have sent the first event before it was cancelled
        assert set(seen[str(order.order_id)]) <= {1}

    run(work())


def test_a_client_that_unsubscribes_and_subscribes_again_gets_the_order(
    pubsub_gateway: str, orders: Orders
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order.order_id)
            await send_command(socket, "unsubscribe", order.order_id)
            await send_command(socket, "subscribe", order.order_id, after=3)
            *frames, end = await next_messages(socket, 3)

        assert ([each["seq"] for each in frames], end) == ([4, 5], an_end(order))

    run(work())


def test_a_client_that_reconnects_misses_no_event(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        seqs: list[int] = []
        for status in (S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED):
            async with open_multiplexed_socket(pubsub_gateway) as socket:
                await send_command(socket, "subscribe", order.order_id, after=len(seqs))
                seqs += await next_seqs(socket, 1)
            await announcer.announce(await order.move(status))
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order.order_id, after=len(seqs))
            seqs += await next_seqs(socket, 1)
            assert await next_messages(socket, 1) == [an_end(order)]

        assert seqs == [1, 2, 3, 4, 5]

    run(work())


# Invalid commands leave the stream open


INVALID_MESSAGES: list[str | bytes] = [
    "",
    "hello",
    "null",
    "7",
    "[]",
    "{}",
    "[" * 15_000,
    "1" * 5_000,
    b"",
    b"\xff\xfe",
    b'{"op": "subscribe", "orderId": "019c0000-0000-7000-8000-00000000dead"}',
    '{"op": "subscribe"}',
    '{"op": "subscribe", "orderId": 7}',
    '{"op": "subscribe", "orderId": null}',
    '{"op": "subscribe", "orderId": ["019c0000-0000-7000-8000-00000000dead"]}',
]


@pytest.mark.parametrize("message", INVALID_MESSAGES, ids=lambda message: repr(message[:40]))
def test_an_invalid_message_is_answered_and_the_stream_continues(
    pubsub_gateway: str, orders: Orders, message: str | bytes
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await socket.send(message)
            assert await next_messages(socket, 1) == [an_error("bad_request")]
            await send_command(socket, "subscribe", order.order_id)
            assert await next_seqs(socket, 5) == [1, 2, 3, 4, 5]

    run(work())


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "shout"},
        {"op": None},
        {"op": ["subscribe"]},
        {"op": "subscribe", "after": -1},
        {"op": "subscribe", "after": 1.0},
        {"op": "subscribe", "after": "1"},
        {"op": "subscribe", "after": True},
        {"op": "subscribe", "after": None},
        {"op": "subscribe", "after": 1_000_000_000},
    ],
    ids=str,
)
def test_the_error_for_an_invalid_command_has_its_order_id(
    pubsub_gateway: str, fields: dict[str, Any]
) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await socket.send(json.dumps({"orderId": UNKNOWN, **fields}))

            assert await next_messages(socket, 1) == [an_error("bad_request", UNKNOWN)]

    run(work())


@pytest.mark.parametrize("order_id", [UNKNOWN, "42", f"{{{UNKNOWN}}}", "", "x" * 64])
def test_an_unknown_id_is_not_found(pubsub_gateway: str, order_id: str) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order_id)

            assert await next_messages(socket, 1) == [an_error("order_not_found", order_id)]

    run(work())


@pytest.mark.parametrize("order_id", ["x" * 65, "\ud800"])
def test_an_id_that_is_too_long_or_malformed_is_not_echoed(
    pubsub_gateway: str, order_id: str
) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order_id)

            assert await next_messages(socket, 1) == [an_error("order_not_found")]

    run(work())


def test_an_order_of_another_account_is_not_found_while_its_owner_follows_it(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        _, owner_key = await keys.make(AccountId("local"), {Scope.READ})
        _, other_key = await keys.make(AccountId("mallory"), {Scope.READ})
        async with (
            open_multiplexed_socket(
                gateway_with_keys, additional_headers=bearer_header(owner_key)
            ) as owner,
            open_multiplexed_socket(
                gateway_with_keys, additional_headers=bearer_header(other_key)
            ) as other,
        ):
            await send_command(other, "subscribe", order.order_id)
            assert await next_messages(other, 1) == [an_error("order_not_found", order.order_id)]
            await send_command(owner, "subscribe", order.order_id)
            assert await next_seqs(owner, 1) == [1]
            await send_command(other, "subscribe", order.order_id)
            assert await next_messages(other, 1) == [an_error("order_not_found", order.order_id)]
            await order.advance(to=S.CONFIRMED)
            assert await next_seqs(owner, 4) == [2, 3, 4, 5]
            await send_command(other, "subscribe", UNKNOWN)
            assert await next_messages(other, 1) == [an_error("order_not_found", UNKNOWN)]

    run(work())


def test_a_subscription_above_the_limit_is_refused(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    async def work(address: str) -> None:
        placed = await asyncio.gather(*(place_order(orders) for _ in range(4)))
        async with open_multiplexed_socket(address) as socket:
            for order in placed[:3]:
                await send_command(socket, "subscribe", order.order_id)
            await next_messages(socket, 3)
            before = metric_value("order_engine_ws_subscriptions")
            await send_command(socket, "subscribe", placed[3].order_id)
            refused = an_error("too_many_subscriptions", placed[3].order_id)
            assert await next_messages(socket, 1) == [refused]
            await send_command(socket, "subscribe", placed[0].order_id)
            assert await next_seqs(socket, 1) == [1]
            await send_command(socket, "unsubscribe", placed[0].order_id)
            await send_command(socket, "subscribe", placed[3].order_id)
            assert await next_seqs(socket, 1) == [1]
            assert metric_value("order_engine_ws_subscriptions") == before

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_subscriptions_max=3
    ) as address:
        run(work(address))


def test_a_message_above_the_limit_closes_the_socket(pubsub_gateway: str) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", "x" * 20_000)

            assert await read_to_close(socket) == ([], 1009)

    run(work())


def test_a_thousand_commands_at_once_are_all_answered(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            sending = asyncio.gather(
                *(send_command(socket, "subscribe", "x" * 40) for _ in range(1_000))
            )
            messages = await next_messages(socket, 1_000)
            await sending
            await send_command(socket, "subscribe", order.order_id)
            assert await next_seqs(socket, 5) == [1, 2, 3, 4, 5]

        assert messages == [an_error("order_not_found", "x" * 40)] * 1_000

    run(work())


def test_without_postgresql_a_command_is_answered_and_the_socket_stays_open(stores: Stores) -> None:
    async def work(address: str) -> None:
        async with open_multiplexed_socket(address) as socket:
            for _ in range(2):
                await send_command(socket, "subscribe", UNKNOWN)
                assert await next_messages(socket, 1) == [an_error("store_unavailable", UNKNOWN)]

    with a_closed_port() as port:
        unreachable_url = f"postgresql://nobody@127.0.0.1:{port}/orders"
        with running_ws_gateway(unreachable_url, stores.redis_url) as (address, _):
            run(work(address))


def test_a_client_that_disconnects_abruptly_is_unsubscribed(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders) for _ in range(5)))
        before = metric_value("order_engine_ws_subscriptions")
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for order in placed:
                await send_command(socket, "subscribe", order.order_id)
            await next_messages(socket, 5)
            assert metric_value("order_engine_ws_subscriptions") == before + 5
            socket.transport.abort()
            await until(lambda: metric_value("order_engine_ws_subscriptions") == before)
            followed = {channel(order.order_id).encode() for order in placed}
            await until(lambda: followed.isdisjoint(broker.pubsub_channels()))

    run(work())


def test_an_idle_client_is_pinged(databases: Databases, stores: Stores) -> None:
    async def work(address: str) -> None:
        async with open_multiplexed_socket(address) as socket:
            assert await next_messages(socket, 2) == [{"type": "ping"}] * 2

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_ping_s=0.1
    ) as address:
        run(work(address))
