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
from support.lives import Life, a_life
from support.serving import a_closed_port
from support.stores import Databases, Stores
from support.streaming import (
    NEVER_S,
    UNKNOWN,
    Announcer,
    a_multiplexed_socket,
    ask,
    is_followed,
    next_frames,
    next_seqs,
    run,
    samples,
    streaming,
    to_the_end,
    unsubscribed,
    until,
)

S = OrderStatus


def an_end(life: Life) -> dict[str, Any]:
    return {"type": "end", "orderId": str(life.order_id)}


def an_error(code: str, order_id: object = None) -> dict[str, Any]:
    word = {"type": "error", "code": code}
    return word if order_id is None else {**word, "orderId": str(order_id)}


def test_all_orders_of_a_client_come_over_one_socket(
    listening: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        lives = await asyncio.gather(*(a_life(orders) for _ in range(20)))
        seen: dict[str, list[int]] = {str(life.order_id): [] for life in lives}
        ended: set[str] = set()
        async with a_multiplexed_socket(listening) as socket:
            for life in lives:
                await ask(socket, "subscribe", life.order_id)
            for life in lives:
                await announcer.announce(*await life.lead(to=S.CONFIRMED))
            while len(ended) < len(lives):
                [said] = await next_frames(socket, 1)
                if said.get("type") == "end":
                    ended.add(said["orderId"])
                else:
                    assert said["orderId"] not in ended
                    seen[said["orderId"]].append(said["seq"])

        assert all(seqs == [1, 2, 3, 4, 5] for seqs in seen.values())

    run(work())


@pytest.mark.parametrize("after", range(7))
def test_a_subscription_begins_after_what_the_client_has(
    listening: str, orders: Orders, after: int
) -> None:
    async def work() -> None:
        life = await a_life(orders, at=S.CONFIRMED)
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", life.order_id, after=after)
            *frames, end = await next_frames(socket, max(5 - after, 0) + 1)

        assert [each["seq"] for each in frames] == list(range(after + 1, 6))
        assert end == an_end(life)

    run(work())


def test_subscribing_again_moves_the_cursor(
    listening: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        life = await a_life(orders, at=S.BUILDING)
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", life.order_id)
            assert await next_seqs(socket, 3) == [1, 2, 3]
            await ask(socket, "subscribe", life.order_id, after=1)
            assert await next_seqs(socket, 2) == [2, 3]
            await announcer.announce(*await life.lead(to=S.CONFIRMED))
            assert await next_seqs(socket, 2) == [4, 5]
            assert await next_frames(socket, 1) == [an_end(life)]
            await ask(socket, "subscribe", life.order_id, after=4)
            assert await next_seqs(socket, 1) == [5]

    run(work())


def test_an_order_that_was_unsubscribed_from_is_silent_and_the_others_are_not(
    listening: str, orders: Orders, announcer: Announcer, broker: redis.Redis
) -> None:
    async def work() -> None:
        left, kept = await a_life(orders), await a_life(orders)
        async with a_multiplexed_socket(listening) as socket:
            for life in (left, kept):
                await ask(socket, "subscribe", life.order_id)
                await next_frames(socket, 1)
            await ask(socket, "unsubscribe", left.order_id)
            await until(lambda: not is_followed(broker, left.order_id))
            await announcer.announce(*await left.lead(to=S.CONFIRMED))
            await announcer.announce(*await kept.lead(to=S.CONFIRMED))
            *frames, end = await next_frames(socket, 5)

        assert {each["orderId"] for each in frames} == {str(kept.order_id)}
        assert end == an_end(kept)

    run(work())


def test_what_was_taken_back_at_once_stays_so(
    listening: str, orders: Orders, announcer: Announcer, broker: redis.Redis
) -> None:
    async def work() -> None:
        life, next_one = await a_life(orders), await a_life(orders)
        seen: dict[str, list[int]] = {str(life.order_id): [], str(next_one.order_id): []}
        async with a_multiplexed_socket(listening) as socket:
            for op in ("subscribe", "unsubscribe") * 5:
                await ask(socket, op, life.order_id)
            await ask(socket, "subscribe", next_one.order_id)
            await until(lambda: is_followed(broker, next_one.order_id))
            await until(lambda: not is_followed(broker, life.order_id))
            await announcer.announce(*await life.lead(to=S.CONFIRMED))
            await announcer.announce(*await next_one.lead(to=S.CONFIRMED))
            while (said := (await next_frames(socket, 1))[0]) != an_end(next_one):
                seen[said["orderId"]].append(said["seq"])

        assert seen[str(next_one.order_id)] == [1, 2, 3, 4, 5]
        # a subscription may have begun before it was taken back
        assert set(seen[str(life.order_id)]) <= {1}

    run(work())


def test_who_changes_his_mind_twice_gets_the_order(listening: str, orders: Orders) -> None:
    async def work() -> None:
        life = await a_life(orders, at=S.CONFIRMED)
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", life.order_id)
            await ask(socket, "unsubscribe", life.order_id)
            await ask(socket, "subscribe", life.order_id, after=3)
            *frames, end = await next_frames(socket, 3)

        assert ([each["seq"] for each in frames], end) == ([4, 5], an_end(life))

    run(work())


def test_a_client_that_comes_again_misses_nothing(
    listening: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        life = await a_life(orders)
        seqs: list[int] = []
        for status in (S.ROUTING, S.BUILDING, S.SUBMITTED, S.CONFIRMED):
            async with a_multiplexed_socket(listening) as socket:
                await ask(socket, "subscribe", life.order_id, after=len(seqs))
                seqs += await next_seqs(socket, 1)
            await announcer.announce(await life.move(status))
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", life.order_id, after=len(seqs))
            seqs += await next_seqs(socket, 1)
            assert await next_frames(socket, 1) == [an_end(life)]

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
    listening: str, orders: Orders, message: str | bytes
) -> None:
    async def work() -> None:
        life = await a_life(orders, at=S.CONFIRMED)
        async with a_multiplexed_socket(listening) as socket:
            await socket.send(message)
            assert await next_frames(socket, 1) == [an_error("bad_request")]
            await ask(socket, "subscribe", life.order_id)
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
    listening: str, fields: dict[str, Any]
) -> None:
    async def work() -> None:
        async with a_multiplexed_socket(listening) as socket:
            await socket.send(json.dumps({"orderId": UNKNOWN, **fields}))

            assert await next_frames(socket, 1) == [an_error("bad_request", UNKNOWN)]

    run(work())


@pytest.mark.parametrize("order_id", [UNKNOWN, "42", f"{{{UNKNOWN}}}", "", "x" * 64])
def test_an_id_that_names_no_order_is_not_found(listening: str, order_id: str) -> None:
    async def work() -> None:
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", order_id)

            assert await next_frames(socket, 1) == [an_error("order_not_found", order_id)]

    run(work())


@pytest.mark.parametrize("order_id", ["x" * 65, "\ud800"])
def test_a_monstrous_id_is_not_sent_back(listening: str, order_id: str) -> None:
    async def work() -> None:
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", order_id)

            assert await next_frames(socket, 1) == [an_error("order_not_found")]

    run(work())


def test_an_order_of_another_account_is_not_found_while_its_owner_follows_it(
    guarded: str, orders: Orders, keys: ApiKeys
) -> None:
    async def work() -> None:
        life = await a_life(orders)
        _, own = await keys.make(AccountId("local"), {Scope.READ})
        _, foreign = await keys.make(AccountId("mallory"), {Scope.READ})
        async with (
            a_multiplexed_socket(guarded, additional_headers=bearer(own)) as owner,
            a_multiplexed_socket(guarded, additional_headers=bearer(foreign)) as other,
        ):
            await ask(other, "subscribe", life.order_id)
            assert await next_frames(other, 1) == [an_error("order_not_found", life.order_id)]
            await ask(owner, "subscribe", life.order_id)
            assert await next_seqs(owner, 1) == [1]
            await ask(other, "subscribe", life.order_id)
            assert await next_frames(other, 1) == [an_error("order_not_found", life.order_id)]
            await life.lead(to=S.CONFIRMED)
            assert await next_seqs(owner, 4) == [2, 3, 4, 5]
            await ask(other, "subscribe", UNKNOWN)
            assert await next_frames(other, 1) == [an_error("order_not_found", UNKNOWN)]

    run(work())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_socket_follows_no_more_orders_than_one_may(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    async def work(address: str) -> None:
        lives = await asyncio.gather(*(a_life(orders) for _ in range(4)))
        async with a_multiplexed_socket(address) as socket:
            for life in lives[:3]:
                await ask(socket, "subscribe", life.order_id)
            await next_frames(socket, 3)
            before = samples("order_engine_ws_subscriptions")
            await ask(socket, "subscribe", lives[3].order_id)
            refused = an_error("too_many_subscriptions", lives[3].order_id)
            assert await next_frames(socket, 1) == [refused]
            await ask(socket, "subscribe", lives[0].order_id)
            assert await next_seqs(socket, 1) == [1]
            await ask(socket, "unsubscribe", lives[0].order_id)
            await ask(socket, "subscribe", lives[3].order_id)
            assert await next_seqs(socket, 1) == [1]
            assert samples("order_engine_ws_subscriptions") == before

    with streaming(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_subscriptions_max=3
    ) as address:
        run(work(address))


def test_a_message_that_is_too_big_closes_the_socket(listening: str) -> None:
    async def work() -> None:
        async with a_multiplexed_socket(listening) as socket:
            await ask(socket, "subscribe", "x" * 20_000)

            assert await to_the_end(socket) == ([], 1009)

    run(work())


def test_a_thousand_requests_at_once_are_all_answered(listening: str, orders: Orders) -> None:
    async def work() -> None:
        life = await a_life(orders, at=S.CONFIRMED)
        async with a_multiplexed_socket(listening) as socket:
            asking = asyncio.gather(*(ask(socket, "subscribe", "x" * 40) for _ in range(1_000)))
            said = await next_frames(socket, 1_000)
            await asking
            await ask(socket, "subscribe", life.order_id)
            assert await next_seqs(socket, 5) == [1, 2, 3, 4, 5]

        assert said == [an_error("order_not_found", "x" * 40)] * 1_000

    run(work())


def test_without_postgresql_a_request_is_answered_and_the_socket_stays(stores: Stores) -> None:
    async def work(address: str) -> None:
        async with a_multiplexed_socket(address) as socket:
            for _ in range(2):
                await ask(socket, "subscribe", UNKNOWN)
                assert await next_frames(socket, 1) == [an_error("store_unavailable", UNKNOWN)]

    with a_closed_port() as port:
        away = f"postgresql://nobody@127.0.0.1:{port}/orders"
        with unsubscribed(away, stores.redis_url) as (address, _):
            run(work(address))


def test_a_client_that_vanishes_follows_nothing_any_more(
    listening: str, orders: Orders, broker: redis.Redis
) -> None:
    async def work() -> None:
        lives = await asyncio.gather(*(a_life(orders) for _ in range(5)))
        before = samples("order_engine_ws_subscriptions")
        async with a_multiplexed_socket(listening) as socket:
            for life in lives:
                await ask(socket, "subscribe", life.order_id)
            await next_frames(socket, 5)
            assert samples("order_engine_ws_subscriptions") == before + 5
            socket.transport.abort()
            await until(lambda: samples("order_engine_ws_subscriptions") == before)
            followed = {channel(life.order_id).encode() for life in lives}
            await until(lambda: followed.isdisjoint(broker.pubsub_channels()))

    run(work())


def test_a_silent_client_is_pinged(databases: Databases, stores: Stores) -> None:
    async def work(address: str) -> None:
        async with a_multiplexed_socket(address) as socket:
            assert await next_frames(socket, 2) == [{"type": "ping"}] * 2

    with streaming(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, ws_ping_s=0.1
    ) as address:
        run(work(address))
