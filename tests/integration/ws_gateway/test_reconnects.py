"""Many clients that connect at once or reconnect often: the queries they cost, and their frames."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.orders.repository import Orders
from proof.history import ClientLog, Frame, violations
from support.driven_orders import DrivenOrder, place_order
from support.evidence import evidence
from support.gateways import bearer_header
from support.stores import Databases, Stores
from support.streaming import (
    NEVER_S,
    OFTEN_S,
    WITHIN_S,
    Announcer,
    metric_value,
    next_messages,
    open_multiplexed_socket,
    open_socket,
    read_to_close,
    run,
    send_command,
    subscribed_ws_gateway,
)

S = OrderStatus

CLIENTS = 2_000
QUERIES_MAX = 250


def queries() -> float:
    """How many statements PostgreSQL has executed for clients that connect."""
    statements = ("history", "check_key", "record_key_use", "redeem_stream_token")
    return sum(
        metric_value("order_engine_commit_seconds_count", statement=name) for name in statements
    )


def test_the_history_for_a_single_client_takes_one_query(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders)
        await order.move(S.FAILED)
        for _ in range(3):
            before = queries()
            async with open_socket(address, order.order_id) as socket:
                assert await read_to_close(socket) == ([1, 2], 1000)
            assert queries() - before == 1

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S
    ) as address:
        run(work(address))


@pytest.mark.parametrize("orders_followed", [1, CLIENTS])
def test_two_thousand_clients_that_connect_at_once_share_their_queries(
    databases: Databases, stores: Stores, orders: Orders, keys: ApiKeys, orders_followed: int
) -> None:
    async def failed_order() -> OrderId:
        order = await place_order(orders)
        await order.move(S.FAILED)
        return order.order_id

    async def follow(address: str, order_id: OrderId, key: str) -> tuple[list[int], int | None]:
        async with open_socket(
            address,
            order_id,
            additional_headers=bearer_header(key),
            open_timeout=WITHIN_S,
            compression=None,
        ) as socket:
            return await read_to_close(socket)

    async def work(address: str) -> None:
        _, key = await keys.make(AccountId("local"), {Scope.READ})
        ids = await asyncio.gather(*(failed_order() for _ in range(orders_followed)))
        before = queries()
        ends = await asyncio.gather(
            *(follow(address, ids[n % len(ids)], key) for n in range(CLIENTS))
        )

        assert Counter(map(str, ends)) == {str(([1, 2], 1000)): CLIENTS}
        assert queries() - before <= QUERIES_MAX

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S, auth="keys"
    ) as address:
        run(work(address))


def test_clients_that_reconnect_often_see_each_event_once(
    databases: Databases,
    stores: Stores,
    orders: Orders,
    announcer: Announcer,
) -> None:
    """Either side may close a socket at any time; half of all events are lost or repeated."""
    rng = random.Random(2)
    logs: dict[tuple[str, UUID], list[Frame]] = {}

    async def follow_one(address: str, client: str, order: DrivenOrder) -> None:
        frames = logs[client, order.order_id] = []
        while not frames or frames[-1].status not in FINAL:
            with suppress(ConnectionClosed):
                async with open_socket(
                    address, order.order_id, f"?after={len(frames)}", close_timeout=0.1
                ) as socket:
                    for _ in range(rng.randint(1, 3)):
                        [message] = await next_messages(socket, 1)
                        frames.append(Frame(seq=message["seq"], status=S(message["status"])))
                    if rng.random() < 0.5:
                        socket.transport.abort()

    async def follow_many(address: str, client: str, placed: Sequence[DrivenOrder]) -> None:
        for order in placed:
            logs[client, order.order_id] = []
        open_ids = {str(order.order_id) for order in placed}
        while open_ids:
            with suppress(ConnectionClosed):
                async with open_multiplexed_socket(address, close_timeout=0.1) as socket:
                    for order_id in open_ids:
                        seen = len(logs[client, UUID(order_id)])
                        await send_command(socket, "subscribe", order_id, after=seen)
                    for _ in range(rng.randint(1, 20)):
                        [message] = await next_messages(socket, 1)
                        if message.get("type") == "end":
                            open_ids.discard(message["orderId"])
                        else:
                            frame = Frame(seq=message["seq"], status=S(message["status"]))
                            logs[client, UUID(message["orderId"])].append(frame)
                        if not open_ids:
                            break
                    if rng.random() < 0.5:
                        socket.transport.abort()

    async def advance(order: DrivenOrder) -> None:
        target = rng.choice((S.CONFIRMED, S.FAILED))
        path = (S.ROUTING, S.BUILDING, S.SUBMITTED, target)
        for status in path[rng.choice((0, 3)) if target is S.FAILED else 0 :]:
            event = await order.move(status)
            await announcer.announce(*[event] * rng.choice((0, 1, 1, 2)))

    async def work(address: str) -> None:
        placed = await asyncio.gather(*(place_order(orders) for _ in range(20)))
        clients = [follow_one(address, f"one {n}", placed[n % 20]) for n in range(60)]
        clients += [follow_many(address, f"many {n}", placed) for n in range(10)]
        following = [asyncio.create_task(client) for client in clients]
        await asyncio.gather(*(advance(order) for order in placed))
        await asyncio.gather(*following)

    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=OFTEN_S
    ) as address:
        run(work(address))
    history = evidence(databases, acknowledged=[], logs={})
    clients = tuple(
        ClientLog(client=client, order_id=order_id, frames=tuple(frames))
        for (client, order_id), frames in logs.items()
    )

    assert [
        violation
        for violation in violations(replace(history, clients=clients))
        if violation.promise == "P3"
    ] == []
    assert len(clients) == 60 + 10 * 20
