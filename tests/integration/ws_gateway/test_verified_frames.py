"""A client never sees what other programs write to Redis."""

import asyncio
import json

import pytest
import redis

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.repository import Orders
from support.driven_orders import DrivenOrder, events_of, place_order
from support.streaming import (
    Announcer,
    dropped_events,
    next_messages,
    next_seqs,
    open_multiplexed_socket,
    open_socket,
    read_to_close,
    run,
    send_command,
    until,
)

S = OrderStatus

FOREIGN_SEAL = Seal(bytes(32))


def a_forgery(order: DrivenOrder) -> str:
    """A forged frame of the next event."""
    return json.dumps(
        {
            "orderId": str(order.order_id),
            "seq": order.claimed.order.seq + 1,
            "status": "failed",
            "timestamp": "2026-01-31T12:00:00.000Z",
            "errorReason": "made up",
        }
    )


def text_of(event: OrderEvent) -> str:
    return json.dumps(frame(event), separators=(",", ":"))


@pytest.mark.parametrize("is_multiplexed", [False, True])
@pytest.mark.parametrize(
    "seal",
    ["", "0" * 32, "-" * 32, "z" * 32, FOREIGN_SEAL.close("")[:32]],
    ids=["none", "zeros", "locked", "not hex", "foreign seal of nothing"],
)
def test_a_frame_without_a_valid_seal_is_never_sent(
    pubsub_gateway: str,
    orders: Orders,
    broker: redis.Redis,
    announcer: Announcer,
    seal: str,
    is_multiplexed: bool,
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        connection = (
            open_multiplexed_socket(pubsub_gateway)
            if is_multiplexed
            else open_socket(pubsub_gateway, order.order_id)
        )
        async with connection as socket:
            if is_multiplexed:
                await send_command(socket, "subscribe", order.order_id)
            await next_messages(socket, 1)
            before = dropped_events("unsealed")
            broker.publish(channel(order.order_id), seal + a_forgery(order))
            await announcer.wait_until_received(order.order_id)
            assert dropped_events("unsealed") == before + 1

            await announcer.announce(*await order.advance(to=S.CONFIRMED))
            assert await next_seqs(socket, 4) == [2, 3, 4, 5]

    run(work())


def test_a_frame_with_a_foreign_seal_is_never_sent(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            broker.publish(channel(order.order_id), FOREIGN_SEAL.close(a_forgery(order)))
            await announcer.announce(*await order.advance(to=S.CONFIRMED))

            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


def test_a_frame_that_was_modified_is_never_sent(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            event = await order.move(S.ROUTING)
            sealed = announcer.seal.close(text_of(event))
            broker.publish(channel(order.order_id), sealed.replace("routing", "failed"))
            await announcer.announce(event)

            [routing] = await next_messages(socket, 1)

        assert routing == frame(event)

    run(work())


def test_a_frame_that_is_published_again_is_not_sent_again(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            [pending] = await events_of(orders, order.order_id)
            routing = await order.move(S.ROUTING)
            await announcer.announce(pending, routing, pending, routing)
            assert await next_seqs(socket, 2) == [1, 2]

            await announcer.announce(routing, pending, *await order.advance(to=S.CONFIRMED))
            assert await read_to_close(socket) == ([3, 4, 5], 1000)

    run(work())


def test_a_frame_on_the_channel_of_another_order_is_never_sent(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        ahead, order = await asyncio.gather(place_order(orders), place_order(orders))
        events = await ahead.advance(to=S.CONFIRMED)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            before = dropped_events("unreadable")
            for event in events:
                broker.publish(channel(order.order_id), announcer.seal.close(text_of(event)))
            await announcer.wait_until_received(order.order_id)
            assert dropped_events("unreadable") == before + len(events) + 1

            await announcer.announce(await order.move(S.FAILED))
            [failed] = await next_messages(socket, 1)

        assert (failed["seq"], failed["status"]) == (2, "failed")

    run(work())


def test_a_frame_is_sent_unchanged(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            text = json.dumps(frame(await order.move(S.ROUTING)), indent=3)
            broker.publish(channel(order.order_id), announcer.seal.close(text))

            assert await socket.recv() == text

    run(work())


UNREADABLE = [
    "",
    "not json",
    "null",
    "[]",
    '{"seq": 2}',
    '{"seq": "2", "status": "routing", "timestamp": "2026-01-31T12:00:00.000Z"}',
    '{"seq": 2, "status": "unknown", "timestamp": "2026-01-31T12:00:00.000Z"}',
    '{"seq": 2, "status": "routing", "timestamp": "noon"}',
    "[" * 100_000,
    '{"seq": 2, "status": "routing", "timestamp": "0001-01-01T00:00:00"}',
    '{"seq": true, "status": "routing", "timestamp": "2026-01-31T12:00:00.000Z"}',
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:40])
def test_an_unreadable_frame_is_dropped_and_the_next_event_arrives(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis, announcer: Announcer, text: str
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        async with open_socket(pubsub_gateway, order.order_id) as socket:
            await next_messages(socket, 1)
            before = dropped_events("unreadable")
            broker.publish(channel(order.order_id), announcer.seal.close(text))
            await until(lambda: dropped_events("unreadable") == before + 1)

            await announcer.announce(await order.move(S.ROUTING))
            assert await next_seqs(socket, 1) == [2]

    run(work())
