"""Who may pass which door: every route, with every kind of key that there is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from order_engine.execution.domain.accounts import Scope
from order_engine.gateway.app import ROUTES
from support.doors import a_new_key, running_gateway, showing
from support.stores import Databases, Stores, fresh_databases

A_BODY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageTolerance": 0.5}
A_KEY = {"accountId": "acme", "scopes": ["read"]}

Asked = tuple[str, str]

# What each route asks for: a new one fails the tests below until it has a line here.
SCOPES: Mapping[Asked, Scope | None] = {
    ("GET", "/health"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/asyncapi.json"): None,
    ("GET", "/api/orders"): Scope.READ,
    ("POST", "/api/orders/execute"): Scope.TRADE,
    ("GET", "/api/orders/execute"): None,  # 405, whoever asks
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
GUARDED = [asked for asked, scope in SCOPES.items() if scope is not None]
OF_AN_ORDER = [asked for asked in GUARDED if "{order_id}" in asked[1]]
REFUSED = {401, 403}

every_guarded_route = pytest.mark.parametrize("asked", GUARDED, ids=" ".join)
every_route_of_an_order = pytest.mark.parametrize("asked", OF_AN_ORDER, ids=" ".join)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A gateway that asks for keys, an order of `acme` behind it, and a key to be revoked."""

    http: httpx2.Client
    databases: Databases
    order_id: str
    key_id: str

    def ask(self, asked: Asked, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        method, path = asked
        path = path.format(order_id=self.order_id, key_id=self.key_id)
        return self.http.request(method, path, json=BODIES.get(asked), headers=headers or {})


@pytest.fixture(scope="module")
def door(stores: Stores) -> Iterator[Door]:
    with (
        fresh_databases(stores) as databases,
        running_gateway(databases, stores, auth="keys") as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        _, secret = a_new_key(databases, Scope.TRADE)
        placed = http.post("/api/orders/execute", json=A_BODY, headers=showing(secret))
        spare, _ = a_new_key(databases, Scope.READ)
        yield Door(
            http=http, databases=databases, order_id=placed.json()["orderId"], key_id=spare.id
        )


def is_problem(answer: httpx2.Response, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    return True


def is_unauthorized(answer: httpx2.Response) -> bool:
    assert answer.headers["www-authenticate"] == 'Bearer realm="order engine"'
    return is_problem(answer, 401, "unauthorized")


def test_every_route_says_what_it_asks_for() -> None:
    routes = {
        (method, route.path)
        for route in ROUTES
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }

    assert set(SCOPES) == routes


@pytest.mark.parametrize("asked", [a for a, s in SCOPES.items() if s is None], ids=" ".join)
def test_what_everybody_may_see_needs_no_key(door: Door, asked: Asked) -> None:
    assert door.ask(asked).status_code not in REFUSED


@every_guarded_route
def test_without_a_key_nothing_opens(door: Door, asked: Asked) -> None:
    assert is_unauthorized(door.ask(asked))


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
def test_what_is_no_key_opens_nothing(door: Door, asked: Asked, shown: str) -> None:
    assert is_unauthorized(door.ask(asked, {"Authorization": shown}))


@every_guarded_route
def test_a_wrong_secret_opens_nothing(door: Door, asked: Asked) -> None:
    _, secret = a_new_key(door.databases, *Scope)
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")

    assert is_unauthorized(door.ask(asked, showing(wrong)))


@every_guarded_route
def test_the_secret_of_one_key_does_not_open_with_the_id_of_another(
    door: Door, asked: Asked
) -> None:
    one, secret = a_new_key(door.databases, *Scope)
    other, _ = a_new_key(door.databases, *Scope)

    assert is_unauthorized(door.ask(asked, showing(secret.replace(one.id, other.id))))


@every_guarded_route
def test_a_revoked_key_opens_nothing(door: Door, asked: Asked) -> None:
    _, secret = a_new_key(door.databases, *Scope, revoked=True)

    assert is_unauthorized(door.ask(asked, showing(secret)))


@every_guarded_route
def test_all_scopes_but_the_right_one_do_not_open(door: Door, asked: Asked) -> None:
    _, secret = a_new_key(door.databases, *(set(Scope) - {SCOPES[asked]}))

    assert is_problem(door.ask(asked, showing(secret)), 403, "forbidden")


@every_guarded_route
def test_the_right_scope_alone_opens(door: Door, asked: Asked) -> None:
    scope = SCOPES[asked]
    assert scope is not None
    _, secret = a_new_key(door.databases, scope)

    assert door.ask(asked, showing(secret)).status_code in {200, 201, 202}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(door: Door, scheme: str) -> None:
    _, secret = a_new_key(door.databases, Scope.READ)
    answer = door.ask(("GET", "/api/orders"), {"Authorization": f"{scheme} {secret}"})

    assert answer.status_code == 200


@every_route_of_an_order
def test_an_order_of_another_account_is_not_there(door: Door, asked: Asked) -> None:
    _, secret = a_new_key(door.databases, *Scope, account="foreign")

    assert is_problem(door.ask(asked, showing(secret)), 404, "order_not_found")


def test_a_list_holds_no_order_of_another_account(door: Door) -> None:
    _, secret = a_new_key(door.databases, Scope.READ, account="foreign")
    answer = door.ask(("GET", "/api/orders"), showing(secret))

    assert answer.json() == {"success": True, "orders": [], "nextCursor": None}


def test_a_cursor_of_another_account_leads_nowhere(door: Door) -> None:
    _, mine = a_new_key(door.databases, *Scope)
    _, foreign = a_new_key(door.databases, Scope.READ, account="foreign")
    door.ask(("POST", "/api/orders/execute"), showing(mine))
    cursor = door.http.get("/api/orders?limit=1", headers=showing(mine)).json()["nextCursor"]
    answer = door.http.get(f"/api/orders?cursor={cursor}", headers=showing(foreign))

    assert answer.json()["orders"] == []


def test_the_same_idempotency_key_of_two_accounts_is_two_orders(door: Door) -> None:
    secrets = [a_new_key(door.databases, Scope.TRADE, account=each)[1] for each in ("one", "two")]
    answers = [
        door.http.post(
            "/api/orders/execute",
            json=A_BODY,
            headers={**showing(secret), "Idempotency-Key": "the-same"},
        )
        for secret in secrets
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.json()["orderId"] for answer in answers}) == 2


def test_who_has_no_key_is_not_told_what_is_wrong_with_the_body(door: Door) -> None:
    answer = door.http.post("/api/orders/execute", content=b"{", headers={})

    assert is_unauthorized(answer)


# Pages of other origins

ALLOWED = "https://app.example"
FOREIGN = ["http://evil.example", "https://app.example.evil", "http://127.0.0.1", "null"]
UNSAFE = [asked for asked in GUARDED if asked[0] != "GET"]

every_unsafe_route = pytest.mark.parametrize("asked", UNSAFE, ids=" ".join)


@pytest.fixture(scope="module")
def open_door(stores: Stores) -> Iterator[Door]:
    """A door that asks nobody for a key, and that pages of one origin may use."""
    with (
        fresh_databases(stores) as databases,
        running_gateway(databases, stores, cors_origins=(ALLOWED,)) as address,
        httpx2.Client(base_url=f"http://{address}", timeout=30) as http,
    ):
        placed = http.post("/api/orders/execute", json=A_BODY)
        spare, _ = a_new_key(databases, Scope.READ)
        yield Door(
            http=http, databases=databases, order_id=placed.json()["orderId"], key_id=spare.id
        )


@every_unsafe_route
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_changes_nothing(open_door: Door, asked: Asked, origin: str) -> None:
    answer = open_door.ask(asked, {"Origin": origin})

    assert is_problem(answer, 403, "foreign_page")


def test_a_foreign_page_cannot_cancel_without_a_preflight(open_door: Door) -> None:
    path = f"/api/orders/{open_door.order_id}/cancel"
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    refused = open_door.http.post(path, content=b"", headers=page)
    order = open_door.http.get(f"/api/orders/{open_door.order_id}").json()["order"]

    assert is_problem(refused, 403, "foreign_page")
    assert order["status"] == "pending"


@pytest.mark.parametrize("origin", [None, ALLOWED, "itself"])
def test_programs_and_welcome_pages_are_served(open_door: Door, origin: str | None) -> None:
    own = str(open_door.http.base_url).rstrip("/")
    headers = {} if origin is None else {"Origin": own if origin == "itself" else origin}
    answer = open_door.ask(("POST", "/api/stream-tokens"), headers)

    assert answer.status_code == 201


def test_a_foreign_page_may_ask_for_what_it_cannot_read(open_door: Door) -> None:
    answer = open_door.ask(("GET", "/api/orders"), {"Origin": "http://evil.example"})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_key_does_not_make_a_page_welcome(door: Door) -> None:
    _, secret = a_new_key(door.databases, *Scope)
    answer = door.ask(
        ("POST", "/api/stream-tokens"), {**showing(secret), "Origin": "http://evil.example"}
    )

    assert is_problem(answer, 403, "foreign_page")
