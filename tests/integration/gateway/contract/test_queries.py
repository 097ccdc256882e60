"""GET /api/orders: filters, and pages that list each order once."""

import base64
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from support.gateways import running_gateway
from support.stores import Databases, Stores, execute, fresh_databases


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    """Shared: each test uses its own tokens."""
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def http(databases: Databases, stores: Stores) -> Iterator[httpx2.Client]:
    with (
        running_gateway(databases, stores) as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        yield http


def a_token() -> str:
    return f"T{uuid.uuid4().hex}"


def placed(http: httpx2.Client, token: str, *, into: str = "USDC") -> str:
    form = {"tokenIn": token, "tokenOut": into, "amountIn": "1", "slippageTolerance": 0.5}
    order_id: str = http.post("/api/orders/execute", json=form).json()["orderId"]
    return order_id


def listed(http: httpx2.Client, **query: Any) -> list[str]:
    return [order["orderId"] for order in page(http, **query)["orders"]]


def page(http: httpx2.Client, **query: Any) -> Any:
    answer = http.get("/api/orders", params=query)
    assert answer.status_code == 200
    return answer.json()


def walked(http: httpx2.Client, **query: Any) -> Iterator[list[str]]:
    """The orders of each page, up to the last."""
    cursor: dict[str, str] = {}
    while True:
        body = page(http, **query, **cursor)
        yield [order["orderId"] for order in body["orders"]]
        if body["nextCursor"] is None:
            return
        cursor = {"cursor": body["nextCursor"]}


def written_at_once(databases: Databases, token: str) -> None:
    """Gives all orders of this token the same time of creation."""
    written_at(databases, f"token_in = '{token}'", "2026-01-31 12:00:00.123456+00")


def written_at(databases: Databases, which: str, time: str) -> None:
    execute(
        databases.orders_url,
        f"UPDATE orders SET created_at = '{time}' WHERE {which}",  # noqa: S608
    )


# Pages


def test_the_newest_order_comes_first(http: httpx2.Client) -> None:
    token = a_token()
    ids = [placed(http, token) for _ in range(3)]

    assert listed(http, tokenIn=token) == ids[::-1]


def test_an_order_is_listed_as_it_is_returned_alone(http: httpx2.Client) -> None:
    token = a_token()
    order_id = placed(http, token)
    [order] = page(http, tokenIn=token)["orders"]

    assert order == http.get(f"/api/orders/{order_id}").json()["order"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 200])
def test_pages_of_any_size_list_each_order_once(http: httpx2.Client, limit: int) -> None:
    token = a_token()
    ids = [placed(http, token) for _ in range(7)]
    pages = list(walked(http, tokenIn=token, limit=limit))

    assert [order_id for each in pages for order_id in each] == ids[::-1]
    assert [len(each) for each in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


def test_orders_of_one_time_are_listed_once_each(http: httpx2.Client, databases: Databases) -> None:
    token = a_token()
    ids = {placed(http, token) for _ in range(7)}
    written_at_once(databases, token)
    found = [order_id for each in walked(http, tokenIn=token, limit=2) for order_id in each]

    assert len(found) == len(ids)
    assert set(found) == ids


def test_orders_placed_between_two_pages_do_not_move_others(http: httpx2.Client) -> None:
    token = a_token()
    ids = [placed(http, token) for _ in range(7)]
    found = []
    for each in walked(http, tokenIn=token, limit=2):
        found += each
        placed(http, token)
        placed(http, token)

    assert found == ids[::-1]


def test_without_orders_there_is_one_empty_page(http: httpx2.Client) -> None:
    assert page(http, tokenIn=a_token()) == {"success": True, "orders": [], "nextCursor": None}


def test_a_page_has_fifty_orders_by_default(http: httpx2.Client) -> None:
    token = a_token()
    for _ in range(51):
        placed(http, token)

    assert len(listed(http, tokenIn=token)) == 50
    assert len(listed(http, tokenIn=token, limit=51)) == 51


# Filters


def test_orders_are_listed_by_status(http: httpx2.Client) -> None:
    token = a_token()
    waiting, cancelled = placed(http, token), placed(http, token)
    http.post(f"/api/orders/{cancelled}/cancel")

    assert listed(http, tokenIn=token, status="pending") == [waiting]
    assert listed(http, tokenIn=token, status="failed") == [cancelled]
    assert listed(http, tokenIn=token, status="confirmed") == []
    assert listed(http, tokenIn=token, status=["failed", "pending"]) == [cancelled, waiting]


def test_orders_are_listed_by_either_token(http: httpx2.Client) -> None:
    one, other = a_token(), a_token()
    there, back = placed(http, one, into=other), placed(http, other, into=one)

    assert listed(http, tokenIn=one) == [there]
    assert listed(http, tokenOut=one) == [back]
    assert listed(http, tokenIn=one, tokenOut=other) == [there]
    assert listed(http, tokenIn=one, tokenOut=one) == []


def test_orders_are_listed_by_time_with_exclusive_bounds(http: httpx2.Client) -> None:
    token = a_token()
    order_id = placed(http, token)
    [order] = page(http, tokenIn=token)["orders"]
    created_at = datetime.fromisoformat(order["createdAt"])
    step = timedelta(milliseconds=1)

    def between(after: datetime, before: datetime) -> list[str]:
        return listed(http, tokenIn=token, after=after.isoformat(), before=before.isoformat())

    assert between(created_at - step, created_at + step) == [order_id]
    assert between(created_at, created_at + step) == []
    assert between(created_at - step, created_at) == []


def test_orders_of_one_millisecond_are_together_before_it_or_after_it(
    http: httpx2.Client, databases: Databases
) -> None:
    token = a_token()
    ids = [placed(http, token) for _ in range(3)]
    for order_id, microseconds in zip(ids, ("123000", "123456", "123999"), strict=True):
        written_at(databases, f"id = '{order_id}'", f"2026-01-31 12:00:00.{microseconds}+00")
    [time] = {order["createdAt"] for order in page(http, tokenIn=token)["orders"]}

    assert time == "2026-01-31T12:00:00.123Z"
    assert listed(http, tokenIn=token, after=time) == []
    assert listed(http, tokenIn=token, before=time) == []
    assert listed(http, tokenIn=token, after="2026-01-31T12:00:00.122999Z") == ids[::-1]
    assert listed(http, tokenIn=token, before="2026-01-31T12:00:00.123001Z") == ids[::-1]


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("2026-01-31T12:00:00Z", 1),
        ("2026-01-31T12:00:00.122Z", 1),
        ("2026-01-31T12:00:00.123Z", 0),
        ("2026-01-31T14:00:00+02:00", 1),
        ("2026-01-31T13:00:00+00:00", 0),
        ("2026-01-31T12:00:01-00:00", 0),
        ("2026-01-31t12:00:00z", 1),
        ("0001-01-01T00:00:00+23:59", 1),
        ("9999-12-31T23:59:59-23:59", 0),
        ("9999-12-31T23:59:59.999999Z", 0),
    ],
)
def test_a_time_may_have_any_zone(
    http: httpx2.Client, databases: Databases, after: str, found: int
) -> None:
    token = a_token()
    placed(http, token)
    written_at_once(databases, token)

    assert len(listed(http, tokenIn=token, after=after)) == found


def test_a_cursor_is_used_with_the_filters_of_its_request(http: httpx2.Client) -> None:
    token, other = a_token(), a_token()
    ids = []
    for _ in range(3):
        ids.append(placed(http, token))
        placed(http, other)

    assert list(walked(http, tokenIn=token, limit=1)) == [[each] for each in ids[::-1]]


@pytest.mark.parametrize("token", ["\u00e9t\u00e9", "a b", "\u6c34", "-SOL", "SOL\u200b"])
def test_an_older_order_with_another_token_is_still_listed_and_returned(
    http: httpx2.Client, databases: Databases, token: str
) -> None:
    into = a_token()
    order_id = placed(http, a_token(), into=into)
    execute(databases.orders_url, f"UPDATE orders SET token_in = '{token}' WHERE id = '{order_id}'")  # noqa: S608
    [listed_order] = page(http, tokenOut=into)["orders"]
    order = http.get(f"/api/orders/{order_id}").json()["order"]

    assert order["tokenIn"] == token
    assert listed_order == order
    assert http.get(f"/api/orders/{order_id}/events").status_code == 200
    assert http.post(f"/api/orders/{order_id}/cancel").status_code == 202


# Invalid queries


def a_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


AN_ID = "019c0000-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=", "status"),
        ("limit=1_0", "limit"),
        ("limit=5.0", "limit"),
        ("limit=%205", "limit"),
        ("&".join(f"n{n}=1" for n in range(40)), "n20"),
        ("status=done", "status"),
        ("status=PENDING", "status"),
        ("status=pending,failed", "status"),
        ("status=pending&status=done", "status"),
        ("status=" + "&status=".join(["pending"] * 7), "status"),
        ("tokenIn=", "tokenIn"),
        ("tokenIn=%20SOL", "tokenIn"),
        ("tokenIn=S%00L", "tokenIn"),
        ("tokenIn=" + "x" * 65, "tokenIn"),
        ("tokenOut=a%0ab", "tokenOut"),
        ("tokenIn=SOL&tokenIn=BTC", "tokenIn"),
        ("token_in=SOL", "token_in"),
        ("after=", "after"),
        ("after=yesterday", "after"),
        ("after=2026-01-31", "after"),
        ("after=2026-01-31T12:00:00", "after"),
        ("after=2026-02-30T12:00:00Z", "after"),
        ("after=2026-01-31T12:00:00%2b99:00", "after"),
        ("after=1767225600", "after"),
        ("before=00000000001767225600", "before"),
        ("before=00000000001767225600.0", "before"),
        ("limit=", "limit"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=1.5", "limit"),
        ("limit=1e2", "limit"),
        ("limit=ten", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=%ff", "cursor"),
        ("cursor=" + "A" * 129, "cursor"),
        (f"cursor={a_cursor('')}", "cursor"),
        (f"cursor={a_cursor('|')}", "cursor"),
        (f"cursor={a_cursor(f'2026-01-31T12:00:00|{AN_ID}')}", "cursor"),
        (f"cursor={a_cursor('2026-01-31T12:00:00+00:00|42')}", "cursor"),
        (f"cursor={a_cursor(f'now|{AN_ID}')}", "cursor"),
        ("page=2", "page"),
        ("=", ""),
    ],
)
def test_an_invalid_parameter_is_pointed_at(http: httpx2.Client, query: str, pointer: str) -> None:
    answer = http.get(f"/api/orders?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_query")
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T12:00:00+23:59",
        "2026-01-31T12:00:00-23:59:59",
        "2026-01-31T12:00:00+00:00:30.5",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_a_forged_cursor_is_valid_or_refused(http: httpx2.Client, time: str) -> None:
    answer = http.get("/api/orders", params={"cursor": a_cursor(f"{time}|{AN_ID}")})

    assert answer.status_code in {200, 422}
