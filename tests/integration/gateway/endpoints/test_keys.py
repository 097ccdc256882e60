"""API keys and stream tokens over HTTP."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from order_engine.execution.domain.accounts import Scope
from support.evidence import rows
from support.gateways import bearer_header, new_api_key, running_gateway
from support.stores import Databases, Stores, execute, fresh_databases


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def admin(databases: Databases, stores: Stores) -> Iterator[httpx2.Client]:
    """A client with a key that has the scope `admin`."""
    _, secret = new_api_key(databases, Scope.ADMIN, account="operator")
    with (
        running_gateway(databases, stores, auth="keys") as address,
        httpx2.Client(
            base_url=f"http://{address}", timeout=30, headers=bearer_header(secret)
        ) as http,
    ):
        yield http


def made(admin: httpx2.Client, **changes: Any) -> Any:
    form = {"accountId": "acme", "scopes": ["read"]} | changes
    answer = admin.post("/api/keys", json=form)
    assert answer.status_code == 201
    return answer.json()


def test_a_new_key_gives_access_by_its_scopes(admin: httpx2.Client) -> None:
    new = made(admin, scopes=["read"])
    headers = bearer_header(new["secret"])

    assert admin.get("/api/orders", headers=headers).status_code == 200
    assert admin.get("/api/keys", headers=headers).status_code == 403


def test_a_new_key_has_the_fields_of_its_form(admin: httpx2.Client) -> None:
    key = made(admin, accountId="desk.1", scopes=["trade", "read"], label="the desk")["key"]
    created_at = key.pop("createdAt")

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created_at)
    assert re.fullmatch("[0-9a-f]{16}", key.pop("id"))
    assert key == {
        "accountId": "desk.1",
        "scopes": ["read", "trade"],
        "label": "the desk",
        "lastUsedAt": None,
        "revokedAt": None,
    }


def test_a_secret_is_shown_once_and_not_stored(admin: httpx2.Client, databases: Databases) -> None:
    answer = admin.post("/api/keys", json={"accountId": "acme", "scopes": ["read"]})
    secret = answer.json()["secret"].rpartition("_")[2]
    kept = rows(databases.orders_url, "SELECT api_keys::text AS row FROM api_keys")

    assert answer.headers["cache-control"] == "no-store"
    assert secret not in admin.get("/api/keys").text
    assert not any(secret in row["row"] for row in kept)


def test_the_first_use_of_a_key_is_recorded(admin: httpx2.Client) -> None:
    new = made(admin)
    admin.get("/api/orders", headers=bearer_header(new["secret"]))
    [key] = [key for key in listed(admin) if key["id"] == new["key"]["id"]]

    assert key["lastUsedAt"] is not None


def test_a_revoked_key_is_unauthorized_at_once(admin: httpx2.Client) -> None:
    new = made(admin)
    headers = bearer_header(new["secret"])
    before = admin.get("/api/orders", headers=headers)
    revoked = admin.delete(f"/api/keys/{new['key']['id']}")
    after = admin.get("/api/orders", headers=headers)

    assert [answer.status_code for answer in (before, revoked, after)] == [200, 200, 401]
    assert revoked.json()["key"]["revokedAt"] is not None


def test_a_key_keeps_the_time_of_its_first_revocation(admin: httpx2.Client) -> None:
    path = f"/api/keys/{made(admin)['key']['id']}"
    first, again = (admin.delete(path).json()["key"]["revokedAt"] for _ in range(2))

    assert first == again


@pytest.mark.parametrize("key_id", ["0" * 16, "42", "..%2f", "%00", "%ff", "x" * 1000])
def test_an_unknown_key_is_not_found(admin: httpx2.Client, key_id: str) -> None:
    answer = admin.delete(f"/api/keys/{key_id}")

    assert answer.status_code == 404
    assert answer.json()["code"] in {"key_not_found", "not_found"}


def test_keys_of_one_account_or_all_are_listed_newest_first(admin: httpx2.Client) -> None:
    ids = [made(admin, accountId="listed")["key"]["id"] for _ in range(3)]
    of_one = [key["id"] for key in listed(admin, "?accountId=listed")]

    assert of_one == ids[::-1]
    assert set(of_one) < {key["id"] for key in listed(admin)}
    assert listed(admin, "?accountId=nobody") == []


def test_an_older_key_with_another_label_is_still_listed(
    admin: httpx2.Client, databases: Databases
) -> None:
    key_id = made(admin, accountId="older")["key"]["id"]
    execute(databases.orders_url, f"UPDATE api_keys SET label = 'caf\u00e9' WHERE id = '{key_id}'")  # noqa: S608

    assert [key["label"] for key in listed(admin, "?accountId=older")] == ["caf\u00e9"]


def listed(admin: httpx2.Client, query: str = "") -> Any:
    return admin.get(f"/api/keys{query}").json()["keys"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("accountId=", "accountId"),
        ("accountId=A", "accountId"),
        ("accountId=a%00b", "accountId"),
        ("accountId=a&accountId=b", "accountId"),
        ("account=a", "account"),
    ],
)
def test_an_invalid_parameter_is_pointed_at(admin: httpx2.Client, query: str, pointer: str) -> None:
    answer = admin.get(f"/api/keys?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_query")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"accountId": ""}, "/accountId"),
        ({"accountId": "Acme"}, "/accountId"),
        ({"accountId": "a\nb"}, "/accountId"),
        ({"accountId": "a\n"}, "/accountId"),
        ({"accountId": "a" * 65}, "/accountId"),
        ({"accountId": 1}, "/accountId"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": "read"}, "/scopes"),
        ({"scopes": ["write"]}, "/scopes/0"),
        ({"scopes": ["read", None]}, "/scopes/1"),
        ({"scopes": ["read"] * 4}, "/scopes"),
        ({"scopes": None}, "/scopes"),
        ({"label": "x" * 65}, "/label"),
        ({"label": "a\x00b"}, "/label"),
        ({"label": "caf\u00e9"}, "/label"),
        ({"label": None}, "/label"),
        ({"secret": "mine"}, "/secret"),
    ],
    ids=str,
)
def test_an_invalid_form_is_pointed_at(
    admin: httpx2.Client, changes: dict[str, Any], pointer: str
) -> None:
    answer = admin.post("/api/keys", json={"accountId": "acme", "scopes": ["read"]} | changes)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_key")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/keys", {"GET", "HEAD", "POST"}),
        ("/api/keys/0011223344556677", {"DELETE"}),
        ("/api/stream-tokens", {"POST"}),
    ],
)
def test_a_405_lists_every_allowed_method(
    admin: httpx2.Client, path: str, allowed: set[str]
) -> None:
    answer = admin.put(path)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/api/keys/", "/api/orders/", "/health/"])
def test_a_path_with_a_trailing_slash_is_unknown(admin: httpx2.Client, path: str) -> None:
    answer = admin.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_stream_token_is_shown_once_and_not_stored(
    admin: httpx2.Client, databases: Databases
) -> None:
    _, secret = new_api_key(databases, Scope.READ)
    answer = admin.post("/api/stream-tokens", headers=bearer_header(secret))
    token = answer.json()["token"]
    kept = rows(databases.orders_url, "SELECT stream_tokens::text AS row FROM stream_tokens")

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"success": True, "token": token, "expiresIn": 60}
    assert re.fullmatch("oest_[0-9a-f]{64}", token)
    assert not any(token.removeprefix("oest_") in row["row"] for row in kept)


def test_stream_tokens_are_different(admin: httpx2.Client, databases: Databases) -> None:
    headers = bearer_header(new_api_key(databases, Scope.READ)[1])
    one, other = (admin.post("/api/stream-tokens", headers=headers).json() for _ in range(2))

    assert one["token"] != other["token"]
