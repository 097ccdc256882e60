"""The streams match the AsyncAPI document, and the reference follower can follow them."""

import asyncio
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft7Validator
from websockets.exceptions import ConnectionClosed

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.stream_contract import CLOSE_MEANINGS
from order_engine.gateway.contract.asyncapi import document
from support.driven_orders import place_order
from support.gateways import open_orders, running_gateway
from support.stores import Databases, Stores, fresh_databases
from support.streaming import (
    UNKNOWN,
    open_multiplexed_socket,
    open_socket,
    run,
    send_command,
    subscribed_ws_gateway,
)

FOLLOWER = Path(__file__).parents[4] / "docs" / "conformance" / "follow.py"
PING_S = 0.2
CHECK_S = 0.1

S = OrderStatus
DOCUMENT = json.loads(json.dumps(document()))


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def ws_gateway(databases: Databases, stores: Stores) -> Iterator[str]:
    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_ping_s=PING_S, ws_position_check_s=CHECK_S
    ) as address:
        yield address


def kinds(message: Any, channel: str) -> list[str]:
    """The names of the channel's messages that this message is valid as."""
    return [
        name
        for name in DOCUMENT["channels"][channel]["messages"]
        if Draft7Validator(
            {
                "allOf": [DOCUMENT["components"]["messages"][name]["payload"]],
                "components": DOCUMENT["components"],
            }
        ).is_valid(message)
    ]


async def read_all(socket: Any) -> tuple[list[Any], int]:
    """All messages until the server closes, and its close code."""
    messages = []
    try:
        while True:
            messages.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return messages, socket.close_code


async def an_order(databases: Databases, *, at: OrderStatus) -> OrderId:
    async with open_orders(databases) as orders:
        if at is S.FAILED:
            order = await place_order(orders, at=S.BUILDING)
            await order.move(S.FAILED)
        else:
            order = await place_order(orders, at=at)
        return order.order_id


async def cancel(databases: Databases, order_id: OrderId) -> None:
    async with open_orders(databases) as orders:
        await orders.cancel(order_id, account_id=LOCAL_ACCOUNT)


@pytest.mark.parametrize("end", [S.CONFIRMED, S.FAILED])
def test_every_frame_of_an_order_is_described(
    ws_gateway: str, databases: Databases, end: OrderStatus
) -> None:
    async def work() -> None:
        order_id = await an_order(databases, at=end)
        async with open_socket(ws_gateway, order_id) as socket:
            messages, code = await read_all(socket)

        assert messages[-1]["status"] == end
        assert [kinds(message, "orderStream") for message in messages] == [["status"]] * len(
            messages
        )
        assert str(code) in DOCUMENT["channels"]["orderStream"]["x-close-codes"]

    run(work())


def test_the_stream_of_a_waiting_order_sends_pings_until_it_is_cancelled(
    ws_gateway: str, databases: Databases
) -> None:
    async def work() -> None:
        order_id = await an_order(databases, at=S.PENDING)
        async with open_socket(ws_gateway, order_id) as socket:
            first = [json.loads(await socket.recv()) for _ in range(3)]
            await cancel(databases, order_id)
            rest, _ = await read_all(socket)

        assert [kinds(each, "orderStream") for each in first] == [["status"], ["ping"], ["ping"]]
        assert {kind for each in rest for kind in kinds(each, "orderStream")} <= {"status", "ping"}
        assert rest[-1]["errorCode"] == "cancelled"

    run(work())


@pytest.mark.parametrize(("path", "code"), [(UNKNOWN, 4404), ("42", 4404)])
def test_the_close_code_of_a_refusal_is_described(ws_gateway: str, path: str, code: int) -> None:
    async def work() -> None:
        async with open_socket(ws_gateway, path) as socket:
            assert await read_all(socket) == ([], code)

    run(work())
    assert code in CLOSE_MEANINGS


def test_every_message_of_the_multiplexed_stream_is_described(
    ws_gateway: str, databases: Databases
) -> None:
    async def work() -> list[str]:
        ended = await an_order(databases, at=S.CONFIRMED)
        waiting = await an_order(databases, at=S.ROUTING)
        async with open_multiplexed_socket(ws_gateway) as socket:
            for order_id in (ended, waiting, UNKNOWN):
                await send_command(socket, "subscribe", order_id, after=0)
            await send_command(socket, "unsubscribe", waiting)
            await send_command(socket, "follow", waiting)
            await socket.send("[]")
            seen: list[str] = []
            while set(seen) != {"status", "ping", "error", "end"}:
                [kind] = kinds(json.loads(await socket.recv()), "stream")
                seen.append(kind)
            return seen

    run(bounded(work()))


async def bounded(work: Any) -> None:
    async with asyncio.timeout(20):
        await work


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"op": "subscribe", "orderId": UNKNOWN}, "subscribe"),
        ({"op": "subscribe", "orderId": UNKNOWN, "after": 3}, "subscribe"),
        ({"op": "unsubscribe", "orderId": UNKNOWN}, "unsubscribe"),
    ],
)
def test_the_commands_of_a_client_are_described(request_: dict[str, Any], kind: str) -> None:
    assert kinds(request_, "stream") == [kind]


def test_the_reference_follower_follows_the_engine(ws_gateway: str, databases: Databases) -> None:
    spec = importlib.util.spec_from_file_location("follow", FOLLOWER)
    assert spec is not None
    assert spec.loader is not None
    follow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(follow)

    async def work() -> None:
        follower = follow.Follower()
        actions = follower.start()
        order_id = await an_order(databases, at=S.CONFIRMED)
        async with open_socket(ws_gateway, order_id, f"?after={actions[0]['connect']}") as socket:
            messages, code = await read_all(socket)
        for message in messages:
            actions += follower.received(message)
        actions += follower.closed(code)

        assert [each["deliver"]["seq"] for each in actions if "deliver" in each] == [1, 2, 3, 4, 5]
        assert actions[-1] == {"outcome": "ended"}

    run(work())


def test_the_document_is_served(databases: Databases, stores: Stores) -> None:
    with running_gateway(databases, stores) as address:
        answer = httpx2.get(f"http://{address}/asyncapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT
