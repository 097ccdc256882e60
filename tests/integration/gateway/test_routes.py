"""Paths and methods of the gateway, its health, and how requests are counted."""

import httpx2
import pytest
from prometheus_client import REGISTRY

from support.gateway_client import MILLISECONDS_UTC, UNKNOWN, is_problem, placed, run, samples


@pytest.mark.parametrize("path", ["/api", "/index.html", "/nowhere", "/api/orders/a/b/c"])
def test_an_unknown_path_is_a_problem(gateway: str, path: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert is_problem(await http.get(path), 404, "not_found")

    run(gateway, talk)


@pytest.mark.parametrize("headers", [{}, {"Host": "10.0.0.7:3000"}, {"User-Agent": "GoogleHC/1.0"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_load_balancer_may_check_the_root(
    gateway: str, method: str, headers: dict[str, str]
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.request(method, "/", headers=headers)

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")

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
def test_a_method_that_a_path_does_not_have_is_a_problem(
    gateway: str, method: str, path: str, allowed: set[str]
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.request(method, path)

        assert is_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed

    run(gateway, talk)


def test_health_has_a_status_and_a_timestamp(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.get("/health")

        assert answer.status_code == 200
        assert set(answer.json()) == {"status", "timestamp"}
        assert answer.json()["status"] == "ok"
        assert MILLISECONDS_UTC.fullmatch(answer.json()["timestamp"])

    run(gateway, talk)


def test_requests_are_counted_by_route_and_not_by_path(gateway: str) -> None:
    by_route = {"route": "/api/orders/{order_id}", "method": "GET"}

    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        before = {
            code: samples("order_engine_http_requests_total", code=code, **by_route)
            for code in CODES
        }
        unknown = samples(
            "order_engine_http_requests_total", route="none", method="GET", code="404"
        )
        await http.get(f"/api/orders/{order_id}")
        await http.get(f"/api/orders/{UNKNOWN}")
        await http.get(f"/nowhere/{order_id}")

        for code in CODES:
            assert (
                samples("order_engine_http_requests_total", code=code, **by_route)
                == before[code] + 1
            )
        assert (
            samples("order_engine_http_requests_total", route="none", method="GET", code="404")
            == unknown + 1
        )
        labels = {
            value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            for value in sample.labels.values()
        }
        assert not any(order_id in label or UNKNOWN in label for label in labels)

    run(gateway, talk)


CODES = ("200", "404")
