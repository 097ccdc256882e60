"""CORS: which pages may call the gateway."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from order_engine.gateway.app import gateway_app
from support.gateway_client import UNKNOWN, a_body, is_problem, run, some_settings
from support.serving import running
from support.stores import Databases, Stores

ALLOWED = "https://app.example"


@pytest.fixture(scope="module")
def browsers(shared_databases: Databases, stores: Stores) -> Iterator[str]:
    """A gateway that pages of one origin may call."""
    settings = some_settings(
        database_url=shared_databases.orders_url,
        redis_url=stores.redis_url,
        cors_origins=(ALLOWED,),
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
def test_a_page_of_a_foreign_origin_may_not_call(browsers: str, origin: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        asked = await preflight(http, origin)
        answer = await http.get("/health", headers={"Origin": origin})

        assert is_problem(asked, 403, "foreign_page")
        assert asked.json()["detail"] == "CORS does not allow this origin"
        assert "access-control-allow-origin" not in asked.headers
        assert "access-control-allow-origin" not in answer.headers

    run(browsers, talk)
