"""Access: every route with every kind of API key, and pages of other origins."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from order_engine.execution.domain.accounts import Scope
from order_engine.gateway.contract.operations import OPERATIONS
from order_engine.gateway.routes import route_path
from support.gateways import bearer_header, new_api_key, running_gateway
from support.stores import Databases, Stores, fresh_databases

A_BODY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageTolerance": 0.5}
A_KEY = {"accountId": "acme", "scopes": ["read"]}

Asked = tuple[str, str]

# The scope of each route. A new operation fails the tests below until it has a line here.
SCOPES: Mapping[Asked, Scope | None] = {
    ("GET", "/health"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/asyncapi.json"): None,
    ("GET", "/api/orders"): Scope.READ,
    ("POST", "/api/orders/execute"): Scope.TRADE,
    ("GET", "/api/orders/execute"): None,  # 405 for every caller
    ("GET", "/api/orders/{order_id}"): Scope.READ,
    ("GET", "/api/orders/{order_id}/events"): Scope.READ,
    ("POST", "/api/orders/{order_id}/cancel"): Scope.TRADE,
    ("POST", "/api/stream-tokens"): Scope.READ,
    ("POST", "/api/keys"): Scope.ADMIN,
    ("GET", "/api/keys"): Scope.ADMIN,
    ("DELETE", "/api/keys/{key_id}"): Scope.ADMIN,
}
BODIES: Mapping[Asked, Any] = {
    ("POST", "/api/orders/execute"): A_BODY,
    ("POST", "/api/keys"): A_KEY,
}
NO_OPERATIONS = dict.fromkeys(
    [("GET", "/openapi.json"), ("GET", "/asyncapi.json"), ("GET", "/api/orders/execute")]
)
GUARDED = [asked for asked, scope in SCOPES.items() if scope is not None]
OF_AN_ORDER = [asked for asked in GUARDED if "{order_id}" in asked[1]]
REFUSED = {401, 403}

every_guarded_route = pytest.mark.parametrize("asked", GUARDED, ids=" ".join)
every_route_of_an_order = pytest.mark.parametrize("asked", OF_AN_ORDER, ids=" ".join)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway, an order of `acme` in it, and a key that may be revoked."""

    http: httpx2.Client
    databases: Databases
    order_id: str
    key_id: str

    def ask(self, asked: Asked, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        method, path = asked
        path = path.format(order_id=self.order_id, key_id=self.key_id)
        return self.http.request(method, path, json=BODIES.get(asked), headers=headers or {})


@pytest.fixture(scope="module")
def gateway(stores: Stores) -> Iterator[Gateway]:
    with (
        fresh_databases(stores) as databases,
        running_gateway(databases, stores, auth="keys") as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        _, secret = new_api_key(databases, Scope.TRADE)
        placed = http.post("/api/orders/execute", json=A_BODY, headers=bearer_header(secret))
        spare, _ = new_api_key(databases, Scope.READ)
        yield Gateway(
            http=http, databases=databases, order_id=placed.json()["orderId"], key_id=spare.id
        )


def is_problem(answer: httpx2.Response, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    return True


def is_unauthorized(answer: httpx2.Response) -> bool:
    assert answer.headers["www-authenticate"] == 'Bearer realm="order engine"'
    return is_problem(answer, 401, "unauthorized")


def test_every_operation_has_its_scope_here() -> None:
    operations = {(each.method.upper(), route_path(each.path)): each.scope for each in OPERATIONS}

    assert operations | NO_OPERATIONS == SCOPES


@pytest.mark.parametrize("asked", [a for a, s in SCOPES.items() if s is None], ids=" ".join)
def test_public_routes_need_no_key(gateway: Gateway, asked: Asked) -> None:
    assert gateway.ask(asked).status_code not in REFUSED


@every_guarded_route
def test_a_request_without_a_key_is_unauthorized(gateway: Gateway, asked: Asked) -> None:
    assert is_unauthorized(gateway.ask(asked))


@every_guarded_route
@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer oe_",
        "Bearer secret",
        "Bearer null",
        f"Bearer oe_{'0' * 16}_{'0' * 64}",
        f"Bearer oest_{'0' * 64}",
        "Basic b2U6c2VjcmV0",
    ],
)
def test_a_malformed_key_is_unauthorized(gateway: Gateway, asked: Asked, shown: str) -> None:
    assert is_unauthorized(gateway.ask(asked, {"Authorization": shown}))


@every_guarded_route
def test_a_wrong_secret_is_unauthorized(gateway: Gateway, asked: Asked) -> None:
    _, secret = new_api_key(gateway.databases, *Scope)
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")

    assert is_unauthorized(gateway.ask(asked, bearer_header(wrong)))


@every_guarded_route
def test_the_secret_of_one_key_with_the_id_of_another_is_unauthorized(
    gateway: Gateway, asked: Asked
) -> None:
    one, secret = new_api_key(gateway.databases, *Scope)
    other, _ = new_api_key(gateway.databases, *Scope)

    assert is_unauthorized(gateway.ask(asked, bearer_header(secret.replace(one.id, other.id))))


@every_guarded_route
def test_a_revoked_key_is_unauthorized(gateway: Gateway, asked: Asked) -> None:
    _, secret = new_api_key(gateway.databases, *Scope, revoked=True)

    assert is_unauthorized(gateway.ask(asked, bearer_header(secret)))


@every_guarded_route
def test_all_scopes_but_the_right_one_are_forbidden(gateway: Gateway, asked: Asked) -> None:
    _, secret = new_api_key(gateway.databases, *(set(Scope) - {SCOPES[asked]}))

    assert is_problem(gateway.ask(asked, bearer_header(secret)), 403, "forbidden")


@every_guarded_route
def test_the_right_scope_alone_is_enough(gateway: Gateway, asked: Asked) -> None:
    scope = SCOPES[asked]
    assert scope is not None
    _, secret = new_api_key(gateway.databases, scope)

    assert gateway.ask(asked, bearer_header(secret)).status_code in {200, 201, 202}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(gateway: Gateway, scheme: str) -> None:
    _, secret = new_api_key(gateway.databases, Scope.READ)
    answer = gateway.ask(("GET", "/api/orders"), {"Authorization": f"{scheme} {secret}"})

    assert answer.status_code == 200


@every_route_of_an_order
def test_an_order_of_another_account_is_not_found(gateway: Gateway, asked: Asked) -> None:
    _, secret = new_api_key(gateway.databases, *Scope, account="foreign")

    assert is_problem(gateway.ask(asked, bearer_header(secret)), 404, "order_not_found")


def test_a_list_holds_no_order_of_another_account(gateway: Gateway) -> None:
    _, secret = new_api_key(gateway.databases, Scope.READ, account="foreign")
    answer = gateway.ask(("GET", "/api/orders"), bearer_header(secret))

    assert answer.json() == {"success": True, "orders": [], "nextCursor": None}


def test_a_cursor_of_another_account_lists_no_foreign_orders(gateway: Gateway) -> None:
    _, mine = new_api_key(gateway.databases, *Scope)
    _, foreign = new_api_key(gateway.databases, Scope.READ, account="foreign")
    gateway.ask(("POST", "/api/orders/execute"), bearer_header(mine))
    cursor = gateway.http.get("/api/orders?limit=1", headers=bearer_header(mine)).json()[
        "nextCursor"
    ]
    answer = gateway.http.get(f"/api/orders?cursor={cursor}", headers=bearer_header(foreign))

    assert answer.json()["orders"] == []


def test_the_same_idempotency_key_of_two_accounts_is_two_orders(gateway: Gateway) -> None:
    secrets = [
        new_api_key(gateway.databases, Scope.TRADE, account=each)[1] for each in ("one", "two")
    ]
    answers = [
        gateway.http.post(
            "/api/orders/execute",
            json=A_BODY,
            headers={**bearer_header(secret), "Idempotency-Key": "the-same"},
        )
        for secret in secrets
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.json()["orderId"] for answer in answers}) == 2


def test_the_key_is_checked_before_the_body(gateway: Gateway) -> None:
    answer = gateway.http.post("/api/orders/execute", content=b"{", headers={})

    assert is_unauthorized(answer)


# Pages of other origins

ALLOWED = "https://app.example"
FOREIGN = ["http://evil.example", "https://app.example.evil", "http://127.0.0.1", "null"]
UNSAFE = [asked for asked in GUARDED if asked[0] != "GET"]

every_unsafe_route = pytest.mark.parametrize("asked", UNSAFE, ids=" ".join)


@pytest.fixture(scope="module")
def open_gateway(stores: Stores) -> Iterator[Gateway]:
    """A gateway in open mode that pages of one origin may call."""
    with (
        fresh_databases(stores) as databases,
        running_gateway(databases, stores, cors_origins=(ALLOWED,)) as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        placed = http.post("/api/orders/execute", json=A_BODY)
        spare, _ = new_api_key(databases, Scope.READ)
        yield Gateway(
            http=http, databases=databases, order_id=placed.json()["orderId"], key_id=spare.id
        )


@every_unsafe_route
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_changes_nothing(open_gateway: Gateway, asked: Asked, origin: str) -> None:
    answer = open_gateway.ask(asked, {"Origin": origin})

    assert is_problem(answer, 403, "foreign_page")


def test_a_foreign_page_cannot_cancel_without_a_preflight(open_gateway: Gateway) -> None:
    path = f"/api/orders/{open_gateway.order_id}/cancel"
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    refused = open_gateway.http.post(path, content=b"", headers=page)
    order = open_gateway.http.get(f"/api/orders/{open_gateway.order_id}").json()["order"]

    assert is_problem(refused, 403, "foreign_page")
    assert order["status"] == "pending"


@pytest.mark.parametrize("origin", [None, ALLOWED, "itself"])
def test_programs_and_pages_of_allowed_origins_are_served(
    open_gateway: Gateway, origin: str | None
) -> None:
    own = str(open_gateway.http.base_url).rstrip("/")
    headers = {} if origin is None else {"Origin": own if origin == "itself" else origin}
    answer = open_gateway.ask(("POST", "/api/stream-tokens"), headers)

    assert answer.status_code == 201


def test_a_foreign_page_may_send_a_get_that_it_cannot_read(open_gateway: Gateway) -> None:
    answer = open_gateway.ask(("GET", "/api/orders"), {"Origin": "http://evil.example"})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_key_does_not_allow_a_foreign_page(gateway: Gateway) -> None:
    _, secret = new_api_key(gateway.databases, *Scope)
    answer = gateway.ask(
        ("POST", "/api/stream-tokens"), {**bearer_header(secret), "Origin": "http://evil.example"}
    )

    assert is_problem(answer, 403, "foreign_page")
