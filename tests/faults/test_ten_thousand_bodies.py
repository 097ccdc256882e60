"""Whatever is sent as an order is either one or refused in words that the document knows."""

import json
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from order_engine.gateway.contract.operations import OPERATIONS
from order_engine.gateway.contract.problems import PROBLEMS
from support.evidence import rows
from support.gateways import running_gateway
from support.stores import Databases, Stores

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(600),
    # the gateway draws lots on its own thread, while hypothesis watches the random module
    pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies"),
]

BODIES = 10_000
BODY_BYTES_MAX = 16_384

[PLACE_ORDER] = [operation for operation in OPERATIONS if operation.id == "placeOrder"]
KNOWN = {(PROBLEMS[each].status, PROBLEMS[each].code) for each in PLACE_ORDER.all_problems}

AN_ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageTolerance": 0.5}

# Orders, and what is nearly one

amounts = st.from_regex(r"(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", fullmatch=True)
tokens = st.sampled_from(["SOL", "USDC", "été", "a b"]) | st.text(min_size=1, max_size=64)
keys = st.sampled_from(["a", "b", "c"]) | st.text(string.printable, min_size=1, max_size=130)
percents = st.floats(0, 100) | st.integers(0, 100)
orders = st.fixed_dictionaries(
    {"tokenIn": tokens, "tokenOut": tokens, "amountIn": amounts, "slippageTolerance": percents},
    optional={"minAmountOut": amounts | st.none(), "clientOrderId": keys | st.none()},
)

sound_orders = st.fixed_dictionaries(
    {
        "tokenIn": st.sampled_from(["SOL", "$WIF", "a.b-c_d", "x" * 64]),
        "tokenOut": st.sampled_from(["USDC", "BTC"]),
        "amountIn": amounts,
        "slippageTolerance": st.integers(0, 10_000).map(lambda n: n / 100) | st.integers(0, 100),
    },
    optional={"minAmountOut": amounts | st.none()},
)

texts = st.text(st.characters())  # with half characters, which UTF-8 cannot say
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 1e-300, -0.0])
odd_texts = texts | st.sampled_from(["", "0", "-1", "1e3", "１", "1" * 41, "NaN", "x" * 65, "\0"])  # noqa: RUF001
values = st.recursive(
    st.none() | st.booleans() | numbers | odd_texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@st.composite
def nearly_orders(draw: st.DrawFn) -> dict[str, Any]:
    """An order in which some fields were left out, renamed, or given any value at all."""
    order: dict[str, Any] = draw(orders)
    for name in draw(st.lists(st.sampled_from(sorted(order)), min_size=1, max_size=3)):
        match draw(st.sampled_from(["drop", "rename", "replace", "add"])):
            case "drop":
                order.pop(name, None)
            case "rename":
                order[draw(st.sampled_from([name.upper(), f"{name} ", ""]))] = order.pop(name, None)
            case "replace":
                order[name] = draw(values)
            case "add":
                order[draw(texts)] = draw(values)
    return order


# What travels

encoded = st.one_of(sound_orders, sound_orders, orders, nearly_orders(), values).map(
    lambda value: json.dumps(value).encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON that lost or got some bytes on its way."""
    body = bytearray(draw(encoded))
    at = draw(st.integers(0, len(body)))
    body[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=8))
    return bytes(body)


bodies = st.one_of(
    encoded,
    encoded,
    encoded,
    encoded,
    damaged(),
    st.binary(max_size=200),
    texts.map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.integers(1, BODY_BYTES_MAX + 200).map(lambda depth: b"[" * depth),
    st.integers(1, 3_000).map(lambda depth: b'{"tokenIn":' * depth + b"1" + b"}" * depth),
    st.tuples(encoded, st.integers(BODY_BYTES_MAX - 10, BODY_BYTES_MAX + 10)).map(
        lambda drawn: drawn[0].ljust(drawn[1])
    ),
)
header_keys = st.sampled_from([None] * 10 + ["a", "b", "", "x" * 129, "a b"])
# padded, because hypothesis sends nothing twice
again = st.integers(200, 5_000).map(
    lambda size: (json.dumps(AN_ORDER).encode().ljust(size), "again", "application/json")
)
media_types = st.sampled_from(["application/json"] * 20 + ["text/plain", "", "application/json;"])

requests = st.integers(0, 20).flatmap(
    lambda n: st.tuples(bodies, header_keys, media_types) if n else again
)


@pytest.fixture
def http(databases: Databases, stores: Stores) -> Iterator[httpx2.Client]:
    with (
        running_gateway(databases, stores, http_rate_limit_per_address=0) as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        yield http


def test_ten_thousand_bodies_are_orders_or_refused_by_the_book(
    http: httpx2.Client, databases: Databases
) -> None:
    told: Counter[str] = Counter()

    @settings(
        max_examples=BODIES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests)
    def send(request: tuple[bytes, str | None, str]) -> None:
        body, key, media_type = request
        headers = {"Content-Type": media_type} | ({} if key is None else {"Idempotency-Key": key})
        answer = http.post("/api/orders/execute", content=body, headers=headers)
        told[word(answer)] += 1

    send()
    [row] = rows(databases.orders_url, "SELECT count(*) AS placed FROM orders")

    assert told.total() >= BODIES
    assert told["created"] == row["placed"]
    assert told["created"] > BODIES / 20
    assert {"replayed", *(code for _, code in KNOWN)} - set(told) <= BEYOND_THIS_TEST


# a body in pieces, other heads, a store that is away, and limits that are lifted here
BEYOND_THIS_TEST = {
    "slow_body",
    "encoded_body",
    "foreign_page",
    "backlog_full",
    "overloaded",
    "store_unavailable",
    "too_many_requests",
    "unauthorized",
    "forbidden",
}


def word(answer: httpx2.Response) -> str:
    """What the answer says; fails on one that no client could be prepared for."""
    said = answer.json()
    if answer.status_code in {200, 201}:
        assert answer.headers["content-type"] == "application/json"
        assert said["success"] is True
        assert said["orderId"]
        assert ("idempotent-replayed" in answer.headers) == (answer.status_code == 200)
        return "created" if answer.status_code == 201 else "replayed"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, said["code"]) in KNOWN
    assert answer.status_code < 500
    assert said["success"] is False
    return str(said["code"])
