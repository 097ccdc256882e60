"""Rate limits for each key and each address, and how responses report them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from order_engine.execution.domain.accounts import Scope
from support.gateways import bearer_header, new_api_key, running_gateway
from support.stores import Databases, Stores

BELOW = re.compile(r'"(?P<who>address|key)";r=(?P<remaining>\d+);t=(?P<reset_s>\d+)')


@contextmanager
def a_client(
    databases: Databases,
    stores: Stores,
    *,
    per_address: int = 0,
    per_key: int = 0,
    **settings: object,
) -> Iterator[httpx2.Client]:
    with (
        running_gateway(
            databases,
            stores,
            http_rate_limit_per_address=per_address,
            http_rate_limit_per_key=per_key,
            **settings,
        ) as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        yield http


def remaining(answer: httpx2.Response) -> dict[str, int]:
    """What is left of each limit."""
    quotas = [BELOW.fullmatch(quota) for quota in answer.headers["ratelimit"].split(", ")]
    assert all(quota and 1 <= int(quota["reset_s"]) <= 60 for quota in quotas)
    return {quota["who"]: int(quota["remaining"]) for quota in quotas if quota}


def is_too_many(answer: httpx2.Response) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return True


def test_every_response_reports_what_is_left(databases: Databases, stores: Stores) -> None:
    with a_client(databases, stores, per_address=10) as http:
        answers = [http.get("/health"), http.get("/nowhere"), http.get("/api/orders?limit=0")]

    assert [answer.status_code for answer in answers] == [200, 404, 422]
    assert [remaining(answer) for answer in answers] == [
        {"address": 9},
        {"address": 8},
        {"address": 7},
    ]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"address";q=10;w=60'}


def test_an_address_above_its_limit_gets_a_retry_after(
    databases: Databases, stores: Stores
) -> None:
    with a_client(databases, stores, per_address=3) as http:
        answers = [http.get("/health") for _ in range(5)]

    assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
    assert all(is_too_many(answer) for answer in answers[3:])
    assert remaining(answers[3]) == {"address": 0}


def test_above_the_limit_no_order_is_placed(databases: Databases, stores: Stores) -> None:
    form = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageTolerance": 0.5}
    with a_client(databases, stores, per_address=1) as http:
        http.get("/health")
        answer = http.post("/api/orders/execute", json=form)
    with a_client(databases, stores) as http:
        listed = http.get("/api/orders").json()["orders"]

    assert is_too_many(answer)
    assert listed == []


def test_each_key_has_its_own_limit(databases: Databases, stores: Stores) -> None:
    one, other = (bearer_header(new_api_key(databases, Scope.READ)[1]) for _ in range(2))
    with a_client(databases, stores, per_key=2, auth="keys") as http:
        answers = [http.get("/api/orders", headers=one) for _ in range(3)]
        others = http.get("/api/orders", headers=other)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert is_too_many(answers[2])
    assert remaining(answers[2]) == {"key": 0}
    assert others.status_code == 200


def test_both_limits_are_reported_together(databases: Databases, stores: Stores) -> None:
    headers = bearer_header(new_api_key(databases, Scope.READ)[1])
    with a_client(databases, stores, per_address=10, per_key=5, auth="keys") as http:
        http.get("/health")
        answer = http.get("/api/orders", headers=headers)

    assert remaining(answer) == {"address": 8, "key": 4}
    assert answer.headers["ratelimit-policy"] == '"address";q=10;w=60, "key";q=5;w=60'


def test_a_wrong_key_counts_against_the_address(databases: Databases, stores: Stores) -> None:
    with a_client(databases, stores, per_address=2, auth="keys") as http:
        answers = [http.get("/api/orders", headers=bearer_header("oe_x")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]


def test_a_limit_of_zero_means_no_limit(databases: Databases, stores: Stores) -> None:
    with a_client(databases, stores) as http:
        answers = [http.get("/health") for _ in range(100)]

    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


PAGE = {"Origin": "https://app.example"}
PREFLIGHT = PAGE | {"Access-Control-Request-Method": "POST"}


def test_a_page_of_an_allowed_origin_can_read_a_429(databases: Databases, stores: Stores) -> None:
    with a_client(databases, stores, per_address=1, cors_origins=(PAGE["Origin"],)) as http:
        http.get("/health", headers=PAGE)
        answer = http.get("/health", headers=PAGE)

    assert is_too_many(answer)
    assert answer.headers["access-control-allow-origin"] == PAGE["Origin"]
    assert "retry-after" in answer.headers["access-control-expose-headers"].lower()


def test_a_preflight_counts_as_a_request(databases: Databases, stores: Stores) -> None:
    with a_client(databases, stores, per_address=2, cors_origins=(PAGE["Origin"],)) as http:
        answers = [http.options("/api/orders/execute", headers=PREFLIGHT) for _ in range(2)]
        refused = http.options("/api/orders/execute", headers=PREFLIGHT)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [remaining(answer) for answer in answers] == [{"address": 1}, {"address": 0}]
    assert is_too_many(refused)
