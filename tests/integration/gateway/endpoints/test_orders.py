"""Orders over HTTP: place, read and cancel."""

import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal

import httpx2
import pytest

from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.gateway_client import (
    MILLISECONDS_UTC,
    UNKNOWN,
    a_body,
    is_problem,
    led,
    placed,
    post,
    post_raw,
    run,
)
from support.stores import Databases


def test_a_placed_order_is_acknowledged(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post(http, minAmountOut="99")

        assert answer.status_code == 201
        order_id = answer.json()["orderId"]
        assert answer.json() == {
            "success": True,
            "orderId": order_id,
            "status": "pending",
            "message": "Order created and queued for execution",
        }
        assert answer.headers["content-type"] == "application/json"
        assert "idempotent-replayed" not in answer.headers
        assert uuid.UUID(order_id).version == 7

    run(gateway, talk)


def test_an_answered_order_is_committed_with_its_first_event(
    gateway: str, shared_databases: Databases
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        stored = rows(
            shared_databases.orders_url,
            "SELECT o.status, o.seq, e.seq AS event, e.status AS event_status FROM orders o"
            " JOIN order_events e ON e.order_id = o.id WHERE o.id = %s",
            [order_id],
        )

        assert stored == [{"status": "pending", "seq": 1, "event": 1, "event_status": "pending"}]

    run(gateway, talk)


def test_a_slippage_may_be_a_whole_number(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post(http, slippageTolerance=1)

        assert answer.status_code == 201

    run(gateway, talk)


def test_a_pending_order_has_null_for_unknown_fields(
    gateway: str,
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, amountIn="1.50")
        answer = await http.get(f"/api/orders/{order_id}")
        order = answer.json()["order"]
        times = [order.pop("createdAt"), order.pop("updatedAt")]

        assert answer.status_code == 200
        assert answer.json()["success"] is True
        assert order == {
            "orderId": order_id,
            "type": "market",
            "tokenIn": "SOL",
            "tokenOut": "USDC",
            "amountIn": "1.50",
            "slippageTolerance": 0.5,
            "minAmountOut": None,
            "status": "pending",
            "dexType": None,
            "executedPrice": None,
            "amountOut": None,
            "txHash": None,
            "errorCode": None,
            "errorReason": None,
        }
        assert all(MILLISECONDS_UTC.fullmatch(time) for time in times)

    run(gateway, talk)


def test_a_confirmed_order_shows_its_fill(gateway: str, shared_databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(shared_databases, order_id, to=OrderStatus.CONFIRMED)
        order = (await http.get(f"/api/orders/{order_id}")).json()["order"]

        assert order["status"] == "confirmed"
        assert order["dexType"] == "raydium"
        assert order["executedPrice"] == "1.49500000"
        assert order["amountOut"] == "149.5"
        assert order["txHash"].startswith("0x")

    run(gateway, talk)


@pytest.mark.parametrize(
    "amount",
    [
        "100",
        "1.50",
        "0.10",
        "0.000000000000000001",
        "0.0000001",
        "99999999999999999999.999999999999999999",
    ],
)
@pytest.mark.parametrize("name", ["amountIn", "minAmountOut"])
def test_an_amount_is_repeated_as_it_was_sent(gateway: str, name: str, amount: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, **{name: amount})
        answer = await http.get(f"/api/orders/{order_id}")

        assert answer.json()["order"][name] == amount

    run(gateway, talk)


@pytest.mark.parametrize(
    "percent", ["0", "0.30000000000000004", "1e-18", "12.3456789012345", "100"]
)
def test_a_slippage_is_repeated_as_it_was_sent(gateway: str, percent: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        body = json.dumps(a_body()).replace("0.5", percent).encode()
        order_id = (await post_raw(http, body)).json()["orderId"]
        answer = await http.get(f"/api/orders/{order_id}")
        found = json.loads(answer.content, parse_float=Decimal)["order"]["slippageTolerance"]

        assert found == Decimal(percent)

    run(gateway, talk)


@pytest.mark.parametrize("zero", ["0", "0.00", "0.000000000000000000"])
def test_a_minimum_of_zero_is_repeated_as_it_was_sent(gateway: str, zero: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, minAmountOut=zero)
        answer = await http.get(f"/api/orders/{order_id}")

        assert answer.json()["order"]["minAmountOut"] == zero

    run(gateway, talk)


def test_events_are_listed_in_order_with_their_facts(
    gateway: str, shared_databases: Databases
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(shared_databases, order_id, to=OrderStatus.CONFIRMED)
        answer = await http.get(f"/api/orders/{order_id}/events")
        events = answer.json()["events"]

        assert answer.status_code == 200
        assert answer.json()["success"] is True
        assert [(event["seq"], event["status"]) for event in events] == [
            (1, "pending"),
            (2, "routing"),
            (3, "building"),
            (4, "submitted"),
            (5, "confirmed"),
        ]
        assert all(MILLISECONDS_UTC.fullmatch(event["timestamp"]) for event in events)
        assert set(events[0]) == {"seq", "status", "timestamp"}
        assert events[4]["executedPrice"] == "1.49500000"

    run(gateway, talk)


def test_an_id_may_be_written_in_capitals(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        answer = await http.get(f"/api/orders/{order_id.upper()}")

        assert answer.status_code == 200
        assert answer.json()["order"]["orderId"] == order_id

    run(gateway, talk)


MALFORMED: Mapping[str, Callable[[str], str]] = {
    "unknown": lambda _: UNKNOWN,
    "not a uuid": lambda _: "42",
    "braces": lambda known: f"{{{known}}}",
    "urn": lambda known: f"urn:uuid:{known}",
    "no dashes": lambda known: known.replace("-", ""),
    "dashes elsewhere": lambda known: "-".join(known.replace("-", "")),
    "cut short": lambda known: known[:-1],
    "a trailing space": lambda known: f"{known}%20",
    "a zero byte": lambda known: f"{known}%00",
    "full-width digits": lambda known: "\uff10" * 8 + known[8:],
    "broken utf-8": lambda _: "%ff%fe",
}


@pytest.mark.parametrize("form", MALFORMED)
@pytest.mark.parametrize("ask", ["GET {}", "GET {}/events", "POST {}/cancel"])
def test_an_id_that_names_no_order_is_not_found(gateway: str, form: str, ask: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        method, _, path = ask.format(MALFORMED[form](await placed(http))).partition(" ")
        answer = await http.request(method, f"/api/orders/{path}")

        assert is_problem(answer, 404, "order_not_found")

    run(gateway, talk)


def test_a_repeated_cancel_gets_the_same_response(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        answers = [await http.post(f"/api/orders/{order_id}/cancel") for _ in range(2)]
        order = (await http.get(f"/api/orders/{order_id}")).json()["order"]
        events = (await http.get(f"/api/orders/{order_id}/events")).json()["events"]

        assert [answer.status_code for answer in answers] == [202, 202]
        assert [answer.json() for answer in answers] == [
            {"success": True, "orderId": order_id, "status": "failed"}
        ] * 2
        assert (order["status"], order["errorCode"]) == ("failed", "cancelled")
        assert [event["seq"] for event in events] == [1, 2]

    run(gateway, talk)


@pytest.mark.parametrize("status", [OrderStatus.SUBMITTED, OrderStatus.CONFIRMED])
def test_an_order_that_may_be_filled_is_not_cancelled(
    gateway: str, shared_databases: Databases, status: OrderStatus
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(shared_databases, order_id, to=status)
        answer = await http.post(f"/api/orders/{order_id}/cancel")

        assert is_problem(answer, 409, "not_cancellable")
        order = (await http.get(f"/api/orders/{order_id}")).json()["order"]
        assert order["status"] == status

    run(gateway, talk)
