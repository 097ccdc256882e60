"""Many orders over one socket."""

import asyncio
import json
from typing import Any

import pytest
import redis

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.publisher import channel
from order_engine.execution.orders.repository import Orders
from support.driven_orders import DrivenOrder, place_order
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
    word = {"type": "error", "code": code}
    return word if order_id is None else {**word, "orderId": str(order_id)}


def test_all_orders_of_a_client_come_over_one_socket(
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
                [said] = await next_messages(socket, 1)
                if said.get("type") == "end":
                    ended.add(said["orderId"])
                else:
                    assert said["orderId"] not in ended
                    seen[said["orderId"]].append(said["seq"])

        assert all(seqs == [1, 2, 3, 4, 5] for seqs in seen.values())

    run(work())


@pytest.mark.parametrize("after", range(7))
def test_a_subscription_begins_after_what_the_client_has(
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


def test_an_order_that_was_unsubscribed_from_is_silent_and_the_others_are_not(
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


def test_what_was_taken_back_at_once_stays_so(
    pubsub_gateway: str, orders: Orders, announcer: Announcer, broker: redis.Redis
) -> None:
    async def work() -> None:
        order, next_one = await place_order(orders), await place_order(orders)
        seen: dict[str, list[int]] = {str(order.order_id): [], str(next_one.order_id): []}
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for op in ("subscribe", "unsubscribe") * 5:
                await send_command(socket, op, order.order_id)
            await send_command(socket, "subscribe", next_one.order_id)
            await until(lambda: is_followed(broker, next_one.order_id))
            await until(lambda: not is_followed(broker, order.order_id))
            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            await announcer.announce(*await next_one.advance(to=S.CONFIRMED))
            while (said := (await next_messages(socket, 1))[0]) != an_end(next_one):
                seen[said["orderId"]].append(said["seq"])

        assert seen[str(next_one.order_id)] == [1, 2, 3, 4, 5]
        # a subscription may have begun before it was taken back
        assert set(seen[str(order.order_id)]) <= {1}

    run(work())


def test_who_changes_his_mind_twice_gets_the_order(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order.order_id)
            await send_command(socket, "unsubscribe", order.order_id)
            await send_command(socket, "subscribe", order.order_id, after=3)
            *frames, end = await next_messages(socket, 3)

        assert ([each["seq"] for each in frames], end) == ([4, 5], an_end(order))

    run(work())


def test_a_client_that_comes_again_misses_nothing(
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


# What is refused, and ends nothing


GARBAGE: list[str | bytes] = [
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


@pytest.mark.parametrize("message", GARBAGE, ids=lambda message: repr(message[:40]))
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
def test_a_wrong_request_is_answered_with_the_order_it_named(
    pubsub_gateway: str, fields: dict[str, Any]
) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await socket.send(json.dumps({"orderId": UNKNOWN, **fields}))

            assert await next_messages(socket, 1) == [an_error("bad_request", UNKNOWN)]

    run(work())


@pytest.mark.parametrize("order_id", [UNKNOWN, "42", f"{{{UNKNOWN}}}", "", "x" * 64])
def test_an_id_that_names_no_order_is_not_found(pubsub_gateway: str, order_id: str) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", order_id)

            assert await next_messages(socket, 1) == [an_error("order_not_found", order_id)]

    run(work())


@pytest.mark.parametrize("order_id", ["x" * 65, "\ud800"])
def test_a_monstrous_id_is_not_sent_back(pubsub_gateway: str, order_id: str) -> None:
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
        _, own = await keys.make(AccountId("local"), {Scope.READ})
        _, foreign = await keys.make(AccountId("mallory"), {Scope.READ})
        async with (
            open_multiplexed_socket(gateway_with_keys, additional_headers=bearer(own)) as owner,
            open_multiplexed_socket(gateway_with_keys, additional_headers=bearer(foreign)) as other,
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


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_socket_follows_no_more_orders_than_one_may(
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


def test_a_message_that_is_too_big_closes_the_socket(pubsub_gateway: str) -> None:
    async def work() -> None:
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            await send_command(socket, "subscribe", "x" * 20_000)

            assert await read_to_close(socket) == ([], 1009)

    run(work())


def test_a_thousand_requests_at_once_are_all_answered(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            asking = asyncio.gather(
                *(send_command(socket, "subscribe", "x" * 40) for _ in range(1_000))
            )
            said = await next_messages(socket, 1_000)
            await asking
            await send_command(socket, "subscribe", order.order_id)
            assert await next_seqs(socket, 5) == [1, 2, 3, 4, 5]

        assert said == [an_error("order_not_found", "x" * 40)] * 1_000

    run(work())


def test_without_postgresql_a_request_is_answered_and_the_socket_stays(stores: Stores) -> None:
    async def work(address: str) -> None:
        async with open_multiplexed_socket(address) as socket:
            for _ in range(2):
                await send_command(socket, "subscribe", UNKNOWN)
                assert await next_messages(socket, 1) == [an_error("store_unavailable", UNKNOWN)]

    with a_closed_port() as port:
        away = f"postgresql://nobody@127.0.0.1:{port}/orders"
        with running_ws_gateway(away, stores.redis_url) as (address, _):
            run(work(address))


def test_a_client_that_vanishes_follows_nothing_any_more(
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


def test_a_silent_client_is_pinged(databases: Databases, stores: Stores) -> None:
    async def work(address: str) -> None:
        async with open_multiplexed_socket(address) as socket:
            assert await next_messages(socket, 2) == [{"type": "ping"}] * 2

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_ping_s=0.1
    ) as address:
        run(work(address))
