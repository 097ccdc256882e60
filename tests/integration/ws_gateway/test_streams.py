"""The stream of one order, with real sockets, PostgreSQL and Redis."""

import asyncio
import json
import random
from contextlib import AsyncExitStack

import pytest
import redis

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.orders.repository import Orders
from support.driven_orders import DrivenOrder, events_of, place_order
from support.locks import locked_orders, waiting_for_lock
from support.stores import Databases, Stores
from support.streaming import (
    NEVER_S,
    UNKNOWN,
    Announcer,
    entered_in_thread,
    metric_value,
    next_messages,
    open_socket,
    read_to_close,
    run,
    subscribed_ws_gateway,
    subscriber_count,
    until,
)
from support.wires import a_wire

S = OrderStatus


# From the first event to the final one


def test_a_client_gets_the_history_and_then_each_new_event(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.BUILDING)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            history = await next_messages(socket, 3)
            live = []
            for status in (S.SUBMITTED, S.CONFIRMED):
                await announcer.announce(await order.move(status))
                live += await next_messages(socket, 1)

            assert [each["seq"] for each in history + live] == [1, 2, 3, 4, 5]
            assert [each["status"] for each in history + live] == [
                "pending",
                "routing",
                "building",
                "submitted",
                "confirmed",
            ]
            assert await read_to_close(socket) == ([], 1000)

    run(work())


def test_a_frame_has_the_fields_of_the_predecessor(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.SUBMITTED)
        [event] = await order.advance(to=S.CONFIRMED)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            frames = await next_messages(socket, 5)

        assert set(frames[0]) == {"orderId", "seq", "status", "timestamp"}
        assert frames[4] == {
            "orderId": str(order.order_id),
            "seq": 5,
            "status": "confirmed",
            "timestamp": timestamp(event.occurred_at),
            "txHash": event.payload["txHash"],
            "executedPrice": "1.49500000",
        }

    run(work())


def test_a_failure_has_a_reason_and_ends_the_stream(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.ROUTING)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 2)
            await announcer.announce(await order.move(S.FAILED))
            [failed] = await next_messages(socket, 1)

            assert failed["status"] == "failed"
            assert failed["errorCode"] == "venue_rejected"
            assert failed["errorReason"] == "the venue said no"
            assert await read_to_close(socket) == ([], 1000)

    run(work())


def test_a_client_of_a_final_order_gets_all_events_at_once(
    pubsub_gateway: str, orders: Orders
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            assert await read_to_close(socket) == ([1, 2, 3, 4, 5], 1000)

    run(work())


# Each event once and in order


@pytest.mark.parametrize(
    "published",
    [
        [2, 3, 4, 5],
        [5, 4, 3, 2],
        [3, 2, 5, 4],
        [2, 2, 3, 3, 4, 4, 5, 5],
        [2, 3, 2, 3, 4, 5],
        [1, 2, 3, 4, 5],
        [2, 5],
        [5],
        [4, 5],
    ],
    ids=str,
)
def test_frames_are_sent_in_order_when_events_are_published_in_any_order(
    pubsub_gateway: str, orders: Orders, announcer: Announcer, published: list[int]
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            events = await events_of(orders, order.order_id) + await order.advance(to=S.CONFIRMED)
            await announcer.announce(*(events[seq - 1] for seq in published))

            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


@pytest.mark.parametrize("lost", [{2}, {3}, {2, 4}, {2, 3, 4}], ids=str)
def test_a_gap_is_filled_when_the_next_event_arrives(
    pubsub_gateway: str, orders: Orders, announcer: Announcer, lost: set[int]
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            seqs: list[int] = []
            for status in (S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED):
                event = await order.move(status)
                if event.seq not in lost:
                    await announcer.announce(event)
                    seqs += [
                        f["seq"] for f in await next_messages(socket, event.seq - 1 - len(seqs))
                    ]

            assert seqs == [2, 3, 4, 5]

    run(work())


@pytest.mark.parametrize("published", [[], [2], [2, 3, 4], [3]], ids=str)
def test_the_position_check_finds_events_that_were_not_published(
    checking_gateway: str, orders: Orders, announcer: Announcer, published: list[int]
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(checking_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            for event in await order.advance(to=S.CONFIRMED):
                if event.seq in published:
                    await announcer.announce(event)

            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


def test_the_position_check_continues_after_a_locked_table(
    databases: Databases, checking_gateway: str, orders: Orders
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(checking_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            with locked_orders(databases.orders_url):
                await until(lambda: waiting_for_lock(databases.orders_url) > 0)
                await until(lambda: waiting_for_lock(databases.orders_url) == 0)  # lock timeout
            await order.advance(to=S.CONFIRMED)

            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


def test_an_event_that_arrives_while_the_history_is_read_is_not_lost(
    databases: Databases,
    stores: Stores,
    orders: Orders,
    broker: redis.Redis,
    announcer: Announcer,
) -> None:
    async def work() -> None:
        other, order = await place_order(orders), await place_order(orders)
        async with a_wire(databases.orders_url) as wire:
            gateway = subscribed_ws_gateway(wire.url, stores.redis_url, ws_position_check_s=NEVER_S)
            async with entered_in_thread(gateway) as address:
                async with open_socket(address, other.order_id) as socket:
                    await next_messages(socket, 1)  # the ws-gateway is connected to PostgreSQL
                wire.hold()
                async with open_socket(address, order.order_id) as socket:
                    await until(lambda: wire.held_bytes > 0)  # PostgreSQL has answered
                    await announcer.announce(await order.move(S.ROUTING))
                    await announcer.wait_until_received(order.order_id)
                    wire.release()
                    async with asyncio.timeout(3):
                        frames = await next_messages(socket, 2)

                    assert [each["seq"] for each in frames] == [1, 2]

    run(work())


# Reconnecting


@pytest.mark.parametrize("after", range(6))
def test_a_client_that_reconnects_gets_the_events_after_its_seq(
    pubsub_gateway: str, orders: Orders, after: int
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_socket(pubsub_gateway, order.order_id, f"?after={after}") as socket:
            assert await read_to_close(socket) == (list(range(after + 1, 6)), 1000)

    run(work())


def test_an_after_beyond_the_last_seq_gets_no_frames(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_socket(pubsub_gateway, order.order_id, "?after=999999999") as socket:
            assert await read_to_close(socket) == ([], 1000)

    run(work())


@pytest.mark.parametrize(("after", "seqs"), [(2, [3, 4, 5]), (3, [4, 5]), (5, []), (9, [])])
def test_a_client_ahead_of_the_order_gets_only_the_later_events(
    checking_gateway: str, orders: Orders, broker: redis.Redis, after: int, seqs: list[int]
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.ROUTING)
        async with open_socket(checking_gateway, order.order_id, f"?after={after}") as socket:
            await until(lambda: subscriber_count(broker, channel(order.order_id)) == 1)
            await order.advance(to=S.CONFIRMED)

            assert await read_to_close(socket) == (seqs, 1000)

    run(work())


def test_a_client_that_reconnects_often_sees_each_event_once(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        seqs: list[int] = []
        for status in (S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED):
            async with open_socket(pubsub_gateway, order.order_id, f"?after={len(seqs)}") as socket:
                seqs += [each["seq"] for each in await next_messages(socket, 1)]
            await announcer.announce(await order.move(status))
        async with open_socket(pubsub_gateway, order.order_id, f"?after={len(seqs)}") as socket:
            rest, code = await read_to_close(socket)

        assert (seqs + rest, code) == ([1, 2, 3, 4, 5], 1000)

    run(work())


# Many clients


def test_all_clients_of_an_order_share_one_subscription(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(open_socket(pubsub_gateway, order.order_id))
                for _ in range(20)
            ]
            for socket in sockets:
                await next_messages(socket, 1)
            shared = subscriber_count(broker, channel(order.order_id))
            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            ends = await asyncio.gather(*(read_to_close(socket) for socket in sockets))

        assert shared == 1
        assert ends == [([2, 3, 4, 5], 1000)] * 20

    run(work())


def test_two_hundred_clients_of_fifty_orders_get_all_events(
    checking_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    rng = random.Random(1)

    async def follow(order: DrivenOrder) -> tuple[list[int], int | None]:
        async with open_socket(checking_gateway, order.order_id) as socket:
            return await read_to_close(socket)

    async def advance(order: DrivenOrder) -> None:
        """Loses, repeats and shuffles the events that it publishes."""
        events = await order.advance(to=S.CONFIRMED)
        published = [event for event in events for _ in range(rng.choice((0, 1, 1, 2)))]
        await announcer.announce(*rng.sample(published, len(published)))

    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders) for _ in range(50)))
        following = [asyncio.create_task(follow(order)) for order in placed for _ in range(4)]
        await asyncio.gather(*(advance(order) for order in placed))

        assert await asyncio.gather(*following) == [([1, 2, 3, 4, 5], 1000)] * 200

    run(work())


def test_a_client_that_disconnects_abruptly_is_unsubscribed(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        name = channel(order.order_id)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            followed = broker.pubsub_channels(name)
            socket.transport.abort()
            await until(lambda: broker.pubsub_channels(name) == [])

        assert followed == [name.encode()]

    run(work())


def test_a_client_that_disconnects_abruptly_does_not_affect_the_others(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with (
            open_socket(pubsub_gateway, order.order_id) as staying,
            open_socket(pubsub_gateway, order.order_id) as leaving,
        ):
            for socket in (staying, leaving):
                await next_messages(socket, 1)
            open_sockets = metric_value("order_engine_ws_connections")
            leaving.transport.abort()
            await until(lambda: metric_value("order_engine_ws_connections") == open_sockets - 1)
            await announcer.announce(*await order.advance(to=S.CONFIRMED))

            assert await read_to_close(staying) == ([2, 3, 4, 5], 1000)

    run(work())


# Invalid requests, and messages of clients


@pytest.mark.parametrize(
    "order_id", [UNKNOWN, "42", f"{{{UNKNOWN}}}", f"urn:uuid:{UNKNOWN}", UNKNOWN.replace("-", "")]
)
def test_an_unknown_id_closes_with_4404(
    pubsub_gateway: str, broker: redis.Redis, order_id: str
) -> None:
    async def work() -> None:
        async with open_socket(pubsub_gateway, order_id) as socket:
            assert await read_to_close(socket) == ([], 4404)
        await until(lambda: broker.pubsub_channels(channel(UNKNOWN)) == [])

    run(work())


def test_an_id_may_be_in_upper_case(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_socket(pubsub_gateway, str(order.order_id).upper()) as socket:
            assert await read_to_close(socket) == ([1, 2, 3, 4, 5], 1000)

    run(work())


@pytest.mark.parametrize(
    "after", ["", "-1", "+1", "1.5", "1e3", "x", "%D9%A3", "1234567890", "1_0"]
)
def test_a_malformed_after_closes_with_4400(
    pubsub_gateway: str, orders: Orders, after: str
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id, f"?after={after}") as socket:
            assert await read_to_close(socket) == ([], 4400)

    run(work())


def test_messages_on_a_stream_of_one_order_are_ignored(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            await socket.send("hello")
            await socket.send(b"\xff\xfe")
            await announcer.announce(*await order.advance(to=S.CONFIRMED))

            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


def test_a_message_above_the_limit_closes_the_socket(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            await socket.send("x" * 20_000)

            assert await read_to_close(socket) == ([], 1009)

    run(work())


def test_an_idle_client_is_pinged_and_gets_new_events(
    databases: Databases, stores: Stores, orders: Orders, announcer: Announcer
) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders)
        async with open_socket(address, order.order_id) as socket:
            first, *pings = await next_messages(socket, 3)
            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            rest = [json.loads(text) async for text in socket]

        assert first["seq"] == 1
        assert pings == [{"type": "ping"}] * 2
        assert [each["seq"] for each in rest if each != {"type": "ping"}] == [2, 3, 4, 5]

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_ping_s=0.1
    ) as address:
        run(work(address))
