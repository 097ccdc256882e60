"""The gateway as clients meet it: on a real socket, with real PostgreSQL and real Redis behind."""

import asyncio
import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import psycopg2
import pytest
import redis
from prometheus_client import REGISTRY
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.seals import SEAL_CHARS
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import GatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.gateway.app import gateway_app
from support.evidence import rows
from support.lives import claimed_life
from support.serving import a_closed_port, running
from support.stores import Databases, Stores, execute, fresh_databases
from support.waiting import wait_until

WITHIN_S = 30
UNKNOWN = "019c0000-0000-7000-8000-00000000dead"
MILLISECONDS_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Talk = Callable[[httpx2.AsyncClient], Awaitable[None]]


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    """One database for all tests here: each places orders of its own."""
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture
def settings(databases: Databases, redis_url: str) -> GatewaySettings:
    return some_settings(database_url=databases.orders_url, redis_url=redis_url)


@pytest.fixture(scope="module")
def gateway(databases: Databases, stores: Stores) -> Iterator[str]:
    """The address of one gateway for all tests that need none of their own."""
    settings = some_settings(database_url=databases.orders_url, redis_url=stores.redis_url)
    with running(gateway_app(settings)) as address:
        yield address


def some_settings(**given: Any) -> GatewaySettings:
    return GatewaySettings(_env_file=None, **given)


def run(address: str, talk: Talk) -> None:
    """Lets a client talk with a gateway, and ends the test when it takes too long."""

    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            httpx2.AsyncClient(base_url=f"http://{address}", timeout=WITHIN_S) as http,
        ):
            await talk(http)

    asyncio.run(work())


def run_alone(settings: GatewaySettings, talk: Talk) -> None:
    """The same with a gateway of its own, which has written all its hints when this returns."""
    with running(gateway_app(settings)) as address:
        run(address, talk)


def a_body(**changes: Any) -> dict[str, Any]:
    return {
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "100",
        "slippageTolerance": 0.5,
    } | changes


async def post(http: httpx2.AsyncClient, *, key: str | None = None, **changes: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await http.post("/api/orders/execute", json=a_body(**changes), headers=headers)


async def post_raw(
    http: httpx2.AsyncClient, content: bytes, content_type: str = "application/json"
) -> Any:
    return await http.post(
        "/api/orders/execute", content=content, headers={"Content-Type": content_type}
    )


async def placed(http: httpx2.AsyncClient, **changes: Any) -> str:
    """The id of a new order."""
    answer = await post(http, **changes)
    assert answer.status_code == 201
    order_id: str = answer.json()["orderId"]
    return order_id


def a_key() -> str:
    return f"key-{uuid.uuid4()}"


def is_problem(answer: Any, status: int, code: str) -> bool:
    """Compares the whole of a problem but its words; True, or the test fails and shows both."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    told = {name: body[name] for name in ("type", "status", "code", "success")}
    assert (answer.status_code, told) == (
        status,
        {"type": "about:blank", "status": status, "code": code, "success": False},
    )
    assert body["title"]
    assert body["detail"]
    return True


# Placing


def test_a_placed_order_is_answered_as_the_seed_does(gateway: str) -> None:
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
    gateway: str, databases: Databases
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        stored = rows(
            databases.orders_url,
            "SELECT o.status, o.seq, e.seq AS event, e.status AS told FROM orders o"
            " JOIN order_events e ON e.order_id = o.id WHERE o.id = %s",
            [order_id],
        )

        assert stored == [{"status": "pending", "seq": 1, "event": 1, "told": "pending"}]

    run(gateway, talk)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_json_may_be_announced_in_more_than_one_way(gateway: str, content_type: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body()).encode(), content_type)

        assert answer.status_code == 201

    run(gateway, talk)


def test_a_slippage_of_a_whole_percent_is_taken(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post(http, slippageTolerance=1)

        assert answer.status_code == 201

    run(gateway, talk)


# Reading


def test_an_order_that_was_not_executed_yet_shows_what_is_unknown_as_null(
    gateway: str,
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, amountIn="1.50")
        answer = await http.get(f"/api/orders/{order_id}")
        order = answer.json()["order"]
        moments = [order.pop("createdAt"), order.pop("updatedAt")]

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
        assert all(MILLISECONDS_UTC.fullmatch(moment) for moment in moments)

    run(gateway, talk)


def test_a_confirmed_order_shows_its_fill(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(databases, order_id, to=OrderStatus.CONFIRMED)
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
def test_an_amount_is_told_as_it_was_sent(gateway: str, name: str, amount: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, **{name: amount})
        answer = await http.get(f"/api/orders/{order_id}")

        assert answer.json()["order"][name] == amount

    run(gateway, talk)


@pytest.mark.parametrize(
    "percent", ["0", "0.30000000000000004", "1e-18", "12.3456789012345", "100"]
)
def test_a_slippage_is_told_as_it_was_sent(gateway: str, percent: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        body = json.dumps(a_body()).replace("0.5", percent).encode()
        order_id = (await post_raw(http, body)).json()["orderId"]
        answer = await http.get(f"/api/orders/{order_id}")
        told = json.loads(answer.content, parse_float=Decimal)["order"]["slippageTolerance"]

        assert told == Decimal(percent)

    run(gateway, talk)


@pytest.mark.parametrize("zero", ["0", "0.00", "0.000000000000000000"])
def test_a_minimum_of_nothing_is_told_as_it_was_sent(gateway: str, zero: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http, minAmountOut=zero)
        answer = await http.get(f"/api/orders/{order_id}")

        assert answer.json()["order"]["minAmountOut"] == zero

    run(gateway, talk)


def test_events_are_told_in_order_with_what_became_known(
    gateway: str, databases: Databases
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(databases, order_id, to=OrderStatus.CONFIRMED)
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


async def led(databases: Databases, order_id: str, *, to: OrderStatus) -> None:
    """Moves a placed order on, as an order-worker would."""
    orders = Orders(
        GroupCommit(databases.orders_url, application_name="test"),
        Reader(databases.orders_url, application_name="test", connections_max=1),
        claimer="test",
    )
    life = await claimed_life(orders, OrderId(uuid.UUID(order_id)))
    await life.lead(to=to)
    orders.close()


def test_an_id_may_be_written_in_capitals(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        answer = await http.get(f"/api/orders/{order_id.upper()}")

        assert answer.status_code == 200
        assert answer.json()["order"]["orderId"] == order_id

    run(gateway, talk)


MALFORMED: Mapping[str, Callable[[str], str]] = {
    "unknown": lambda _: UNKNOWN,
    "no uuid": lambda _: "42",
    "braces": lambda known: f"{{{known}}}",
    "urn": lambda known: f"urn:uuid:{known}",
    "no dashes": lambda known: known.replace("-", ""),
    "dashes elsewhere": lambda known: "-".join(known.replace("-", "")),
    "cut short": lambda known: known[:-1],
    "an outer blank": lambda known: f"{known}%20",
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


# What cannot be answered


@pytest.mark.parametrize("path", ["/", "/api", "/nowhere", "/api/orders/a/b/c"])
def test_an_unknown_path_is_a_problem(gateway: str, path: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert is_problem(await http.get(path), 404, "not_found")

    run(gateway, talk)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/orders/execute", {"POST"}),
        ("GET", "/api/orders/execute", {"POST"}),
        ("DELETE", f"/api/orders/{UNKNOWN}", {"GET", "HEAD"}),
        ("POST", f"/api/orders/{UNKNOWN}", {"GET", "HEAD"}),
        ("POST", f"/api/orders/{UNKNOWN}/events", {"GET", "HEAD"}),
        ("GET", f"/api/orders/{UNKNOWN}/cancel", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PATCH", "/health", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_a_path_does_not_know_is_a_problem(
    gateway: str, method: str, path: str, allowed: set[str]
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.request(method, path)

        assert is_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed

    run(gateway, talk)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"],
)
def test_what_is_not_announced_as_json_is_not_read(gateway: str, content_type: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body()).encode(), content_type)

        assert is_problem(answer, 415, "wrong_content_type")

    run(gateway, talk)


@pytest.mark.parametrize("path", ["/api/orders/execute", "/api/keys"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "unheard-of"])
def test_a_body_that_comes_encoded_is_not_read(gateway: str, path: str, encoding: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        answer = await http.post(path, content=gzip.compress(b"{}"), headers=headers)

        assert is_problem(answer, 415, "encoded_body")
        assert answer.headers["accept-encoding"] == "identity"

    run(gateway, talk)


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_a_body_may_be_said_to_come_as_it_is(gateway: str, encoding: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        headers = {"Content-Encoding": encoding}
        answer = await http.post("/api/orders/execute", json=a_body(), headers=headers)

        assert answer.status_code == 201

    run(gateway, talk)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"tokenIn=SOL",
        b'{"tokenIn":',
        json.dumps(a_body()).encode() + b"]",
        json.dumps(a_body()).encode("utf-16"),
        b'{"tokenIn": "\xff\xfe"}',
        b'{"slippageTolerance": NaN}',
        b"[" * 10_000,
        b"[" * 8_000 + b"]" * 8_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 1_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_json_is_a_problem(gateway: str, content: bytes) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert is_problem(await post_raw(http, content), 400, "invalid_json")

    run(gateway, talk)


def test_a_body_is_taken_up_to_its_bound_and_no_further(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        largest = json.dumps(a_body()).encode().ljust(16_384)

        assert (await post_raw(http, largest)).status_code == 201
        assert is_problem(await post_raw(http, largest + b" "), 413, "body_too_large")
        assert is_problem(await post_raw(http, largest * 20), 413, "body_too_large")

    run(gateway, talk)


def test_a_body_without_an_announced_length_is_bounded_too(gateway: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 1024

    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.post(
            "/api/orders/execute", content=chunks(), headers={"Content-Type": "application/json"}
        )

        assert is_problem(answer, 413, "body_too_large")

    run(gateway, talk)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"tokenIn": ""}, ["/tokenIn"]),
        ({"tokenOut": "SOL"}, ["/tokenOut"]),
        ({"tokenIn": "a\x00b"}, ["/tokenIn"]),
        ({"tokenIn": "\ud800"}, ["/tokenIn"]),
        ({"amountIn": 100}, ["/amountIn"]),
        ({"amountIn": "1e3"}, ["/amountIn"]),
        ({"amountIn": "007.10"}, ["/amountIn"]),
        ({"amountIn": "0"}, ["/amountIn"]),
        ({"minAmountOut": "-1"}, ["/minAmountOut"]),
        ({"slippageTolerance": "0.5"}, ["/slippageTolerance"]),
        ({"slippageTolerance": 100.5}, ["/slippageTolerance"]),
        ({"limitPrice": "1"}, ["/limitPrice"]),
        ({"clientOrderId": "a b"}, ["/clientOrderId"]),
        ({"amountIn": "", "slippageTolerance": -0.5}, ["/amountIn", "/slippageTolerance"]),
    ],
    ids=str,
)
def test_an_invalid_order_is_answered_with_where_it_is_wrong(
    gateway: str, changes: dict[str, Any], pointers: list[str]
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body(**changes)).encode())

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        assert all(error["detail"] for error in answer.json()["errors"])

    run(gateway, talk)


def test_a_field_whose_name_is_half_a_character_is_refused(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body(**{"\ud800": "x"})).encode())

        assert is_problem(answer, 422, "invalid_order")

    run(gateway, talk)


def test_a_field_that_is_missing_is_pointed_at(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, b"{}")

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == [
            "/tokenIn",
            "/tokenOut",
            "/amountIn",
            "/slippageTolerance",
        ]

    run(gateway, talk)


# The same key again


def test_of_thirty_equal_orders_at_once_one_is_created(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        answers = await asyncio.gather(*(post(http, key=key) for _ in range(30)))
        replays = [answer for answer in answers if answer.status_code == 200]

        assert sorted(answer.status_code for answer in answers) == [200] * 29 + [201]
        assert len({answer.json()["orderId"] for answer in answers}) == 1
        assert {answer.headers["idempotent-replayed"] for answer in replays} == {"true"}
        assert len(with_key(databases, key)) == 1

    run(gateway, talk)


def test_one_key_at_two_gateways_at_once_is_one_order(
    gateway: str, settings: GatewaySettings, databases: Databases
) -> None:
    key = a_key()

    async def talk(http: httpx2.AsyncClient) -> None:
        async with httpx2.AsyncClient(base_url=f"http://{gateway}", timeout=WITHIN_S) as other:
            answers = await asyncio.gather(
                *(post(each, key=key) for _ in range(15) for each in (http, other))
            )

        assert sorted(answer.status_code for answer in answers) == [200] * 29 + [201]
        assert len({answer.json()["orderId"] for answer in answers}) == 1

    run_alone(settings, talk)

    assert len(with_key(databases, key)) == 1


def test_a_replay_tells_where_the_order_stands_now(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        first = await post(http, key=key)
        await led(databases, first.json()["orderId"], to=OrderStatus.SUBMITTED)
        again = await post(http, key=key)

        assert again.status_code == 200
        assert again.json() == first.json() | {"status": "submitted"}

    run(gateway, talk)


def test_a_key_may_come_in_the_header_the_body_or_both(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        answers = [
            await post(http, key=key),
            await post(http, clientOrderId=key),
            await post(http, key=key, clientOrderId=key),
        ]

        assert [answer.status_code for answer in answers] == [201, 200, 200]
        assert len({answer.json()["orderId"] for answer in answers}) == 1

    run(gateway, talk)


def test_a_key_belongs_to_one_body(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        await post(http, key=key)
        answer = await post(http, key=key, amountIn="101")

        assert is_problem(answer, 422, "idempotency_key_reused")
        assert len(with_key(databases, key)) == 1

    run(gateway, talk)


def test_two_different_keys_are_refused(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        header, body = a_key(), a_key()
        answer = await post(http, key=header, clientOrderId=body)

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/clientOrderId"]
        assert with_key(databases, header) == with_key(databases, body) == []

    run(gateway, talk)


def test_two_different_key_headers_are_refused(gateway: str, databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        one, other = a_key(), a_key()
        answer = await http.post(
            "/api/orders/execute",
            content=json.dumps(a_body()),
            headers=[
                ("Content-Type", "application/json"),
                ("Idempotency-Key", one),
                ("Idempotency-Key", other),
            ],
        )

        assert is_problem(answer, 422, "invalid_order")
        assert with_key(databases, one) == with_key(databases, other) == []

    run(gateway, talk)


def test_without_a_key_equal_orders_are_two(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert await placed(http) != await placed(http)

    run(gateway, talk)


def with_key(databases: Databases, key: str) -> list[dict[str, Any]]:
    return rows(databases.orders_url, "SELECT id FROM orders WHERE idempotency_key = %s", [key])


# Cancelling


def test_an_order_is_cancelled_once_and_says_so_each_time(gateway: str) -> None:
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
    gateway: str, databases: Databases, status: OrderStatus
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        await led(databases, order_id, to=status)
        answer = await http.post(f"/api/orders/{order_id}/cancel")

        assert is_problem(answer, 409, "not_cancellable")
        order = (await http.get(f"/api/orders/{order_id}")).json()["order"]
        assert order["status"] == status

    run(gateway, talk)


# Hints


def test_a_placed_order_is_hinted_to_the_workers_and_the_dispatchers(
    settings: GatewaySettings, redis_url: str
) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        ids.append(await placed(http))

    run_alone(settings, talk)
    [order_id] = ids
    [execution] = jobs(redis_url, "orders", of=ids)
    [publication] = jobs(redis_url, "order-status-pending", of=ids)

    assert execution.id == f"o-{order_id}"
    assert execution.func_name == "order_engine.order_worker.stock_rq_job.execute"
    assert execution.args == [order_id]
    assert publication.id == f"s-{order_id}-1"
    assert publication.func_name == "order_engine.status_dispatcher.stock_rq_job.publish"
    channel, message, committed_at = publication.args
    assert channel == order_id
    assert json.loads(message[SEAL_CHARS:]) == {
        "orderId": order_id,
        "seq": 1,
        "status": "pending",
        "timestamp": timestamp(datetime.fromtimestamp(committed_at, UTC)),
    }


def test_a_replay_hints_nothing(settings: GatewaySettings, redis_url: str) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        answers = await asyncio.gather(*(post(http, key=key) for _ in range(5)))
        await post(http, key=key, amountIn="101")
        ids.append(answers[0].json()["orderId"])

    run_alone(settings, talk)

    assert len(jobs(redis_url, "orders", of=ids)) == 1
    assert len(jobs(redis_url, "order-status-pending", of=ids)) == 1


def test_a_cancelled_order_is_hinted_once_to_the_dispatcher_of_failures(
    settings: GatewaySettings, redis_url: str
) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        ids.append(await placed(http))
        for _ in range(2):
            await http.post(f"/api/orders/{ids[0]}/cancel")

    run_alone(settings, talk)
    [publication] = jobs(redis_url, "order-status-failed", of=ids)

    _, message, _ = publication.args
    frame = json.loads(message[SEAL_CHARS:])
    assert (frame["seq"], frame["status"], frame["errorCode"]) == (2, "failed", "cancelled")


def test_hints_keep_the_order_in_which_orders_came(
    settings: GatewaySettings, redis_url: str
) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        for _ in range(20):
            ids.append(await placed(http))

    run_alone(settings, talk)

    assert [job.args[0] for job in jobs(redis_url, "orders", of=ids)] == ids


def jobs(redis_url: str, queue: str, *, of: list[str]) -> list[Job]:
    """The queue's jobs for these orders, as a stock RQ worker would read them."""
    with redis.Redis.from_url(redis_url) as client:
        assert f"rq:queue:{queue}".encode() in client.smembers("rq:queues")
        found = [
            Job.fetch(job_id.decode(), connection=client, serializer=JSONSerializer)
            for job_id in client.lrange(f"rq:queue:{queue}", 0, -1)
            if any(order_id.encode() in job_id for order_id in of)
        ]
    assert {job.get_status(refresh=False) for job in found} == {JobStatus.QUEUED}
    assert {job.origin for job in found} == {queue}
    return found


# Stores away


def test_without_redis_orders_are_still_taken(databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        order = await http.get(f"/api/orders/{order_id}")
        cancelled = await http.post(f"/api/orders/{order_id}/cancel")

        assert order.json()["order"]["status"] == "pending"
        assert cancelled.status_code == 202

    with a_closed_port() as port:
        away = f"redis://127.0.0.1:{port}/0"
        run_alone(some_settings(database_url=databases.orders_url, redis_url=away), talk)


def test_without_postgresql_nothing_is_answered_but_try_again(redis_url: str) -> None:
    acknowledged = samples("orders_placed_total")

    async def talk(http: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(post(http), http.get(f"/api/orders/{UNKNOWN}"))

        assert all(is_problem(answer, 503, "store_unavailable") for answer in answers)
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert not any("127.0.0.1" in answer.text for answer in answers)
        assert (await http.get("/health")).status_code == 200

    with a_closed_port() as port:
        away = f"postgresql://nobody@127.0.0.1:{port}/orders"
        run_alone(some_settings(database_url=away, redis_url=redis_url), talk)

    assert samples("orders_placed_total") == acknowledged


def test_an_order_that_was_not_acknowledged_is_placed_when_postgresql_is_back(
    stores: Stores, redis_url: str
) -> None:
    async def talk(http: httpx2.AsyncClient, databases: Databases) -> None:
        key = a_key()
        await placed(http)  # the connection stands
        shut(stores, databases)
        refused = await post(http, key=key)
        open_again(stores, databases)
        answer = await post(http, key=key)

        assert is_problem(refused, 503, "store_unavailable")
        assert answer.status_code == 201
        assert (await http.get(f"/api/orders/{answer.json()['orderId']}")).status_code == 200
        assert len(with_key(databases, key)) == 1

    with fresh_databases(stores) as databases:
        settings = some_settings(database_url=databases.orders_url, redis_url=redis_url)
        run_alone(settings, lambda http: talk(http, databases))


def test_an_order_waits_out_a_short_absence_of_postgresql(stores: Stores, redis_url: str) -> None:
    async def talk(http: httpx2.AsyncClient, databases: Databases) -> None:
        await placed(http)
        shut(stores, databases)
        repeats = samples("commit_repeats_total", statement="place", reason="lost")
        waiting = asyncio.create_task(post(http))
        await asyncio.to_thread(
            wait_until,
            lambda: samples("commit_repeats_total", statement="place", reason="lost") > repeats,
            timeout_s=5,
        )
        open_again(stores, databases)

        assert (await waiting).status_code == 201

    with fresh_databases(stores) as databases:
        settings = some_settings(database_url=databases.orders_url, redis_url=redis_url)
        run_alone(settings, lambda http: talk(http, databases))


def shut(stores: Stores, databases: Databases) -> None:
    """Ends all connections to the orders' database, and lets none in."""
    name = psycopg2.extensions.parse_dsn(databases.orders_url)["dbname"]
    execute(stores.postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    execute(
        stores.postgres_url,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
    )


def open_again(stores: Stores, databases: Databases) -> None:
    name = psycopg2.extensions.parse_dsn(databases.orders_url)["dbname"]
    execute(stores.postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


# Around the orders


def test_health_is_told_as_the_seed_does(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.get("/health")

        assert answer.status_code == 200
        assert set(answer.json()) == {"status", "timestamp"}
        assert answer.json()["status"] == "ok"
        assert MILLISECONDS_UTC.fullmatch(answer.json()["timestamp"])

    run(gateway, talk)


ALLOWED = "https://app.example"


@pytest.fixture(scope="module")
def browsers(databases: Databases, stores: Stores) -> Iterator[str]:
    """The address of a gateway that pages of one origin may call."""
    settings = some_settings(
        database_url=databases.orders_url, redis_url=stores.redis_url, cors_origins=(ALLOWED,)
    )
    with running(gateway_app(settings)) as address:
        yield address


async def preflight(http: httpx2.AsyncClient, origin: str) -> Any:
    return await http.options(
        "/api/orders/execute",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key",
        },
    )


def test_a_page_of_an_allowed_origin_may_place_orders(browsers: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        asked = await preflight(http, ALLOWED)
        answer = await http.post("/api/orders/execute", json=a_body(), headers={"Origin": ALLOWED})

        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == ALLOWED
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "idempotency-key" in asked.headers["access-control-allow-headers"].lower()
        assert answer.status_code == 201
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "idempotent-replayed" in answer.headers["access-control-expose-headers"].lower()

    run(browsers, talk)


def test_a_page_of_an_allowed_origin_may_read_problems(browsers: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.get(f"/api/orders/{UNKNOWN}", headers={"Origin": ALLOWED})

        assert is_problem(answer, 404, "order_not_found")
        assert answer.headers["access-control-allow-origin"] == ALLOWED

    run(browsers, talk)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "null"])
def test_a_page_of_a_foreign_origin_may_not(browsers: str, origin: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        asked = await preflight(http, origin)
        answer = await http.get("/health", headers={"Origin": origin})

        assert is_problem(asked, 403, "foreign_page")
        assert asked.json()["detail"] == "this engine does not allow the page's origin"
        assert "access-control-allow-origin" not in asked.headers
        assert "access-control-allow-origin" not in answer.headers

    run(browsers, talk)


def test_requests_are_counted_by_route_and_never_by_path(gateway: str) -> None:
    by_route = {"route": "/api/orders/{order_id}", "method": "GET"}

    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        before = {code: samples("http_requests_total", code=code, **by_route) for code in CODES}
        unknown = samples("http_requests_total", route="none", method="GET", code="404")
        await http.get(f"/api/orders/{order_id}")
        await http.get(f"/api/orders/{UNKNOWN}")
        await http.get(f"/nowhere/{order_id}")

        for code in CODES:
            assert samples("http_requests_total", code=code, **by_route) == before[code] + 1
        assert samples("http_requests_total", route="none", method="GET", code="404") == unknown + 1
        labels = {
            value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            for value in sample.labels.values()
        }
        assert not any(order_id in label or UNKNOWN in label for label in labels)

    run(gateway, talk)


CODES = ("200", "404")


def samples(name: str, **labels: str) -> float:
    """The value of one sample of this process; 0 when there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
