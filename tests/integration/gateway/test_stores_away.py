"""The gateway while PostgreSQL or Redis is away."""

import asyncio

import httpx2
import psycopg2

from support.gateway_client import (
    UNKNOWN,
    a_key,
    is_problem,
    placed,
    post,
    run_alone,
    samples,
    some_settings,
    with_key,
)
from support.serving import a_closed_port
from support.stores import Databases, Stores, execute, fresh_databases
from support.waiting import wait_until


def test_without_redis_orders_are_still_accepted(shared_databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        order_id = await placed(http)
        order = await http.get(f"/api/orders/{order_id}")
        cancelled = await http.post(f"/api/orders/{order_id}/cancel")

        assert order.json()["order"]["status"] == "pending"
        assert cancelled.status_code == 202

    with a_closed_port() as port:
        away = f"redis://127.0.0.1:{port}/0"
        run_alone(some_settings(database_url=shared_databases.orders_url, redis_url=away), talk)


def test_without_postgresql_requests_are_answered_503(redis_url: str) -> None:
    acknowledged = samples("order_engine_orders_placed_total")

    async def talk(http: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(post(http), http.get(f"/api/orders/{UNKNOWN}"))

        assert all(is_problem(answer, 503, "store_unavailable") for answer in answers)
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert not any("127.0.0.1" in answer.text for answer in answers)
        assert (await http.get("/health")).status_code == 200

    with a_closed_port() as port:
        away = f"postgresql://nobody@127.0.0.1:{port}/orders"
        run_alone(some_settings(database_url=away, redis_url=redis_url), talk)

    assert samples("order_engine_orders_placed_total") == acknowledged


def test_an_order_is_placed_by_a_retry_when_postgresql_is_back(
    stores: Stores, redis_url: str
) -> None:
    async def talk(http: httpx2.AsyncClient, shared_databases: Databases) -> None:
        key = a_key()
        await placed(http)  # opens the connection
        shut(stores, shared_databases)
        refused = await post(http, key=key)
        open_again(stores, shared_databases)
        answer = await post(http, key=key)

        assert is_problem(refused, 503, "store_unavailable")
        assert answer.status_code == 201
        assert (await http.get(f"/api/orders/{answer.json()['orderId']}")).status_code == 200
        assert len(with_key(shared_databases, key)) == 1

    with fresh_databases(stores) as shared_databases:
        settings = some_settings(database_url=shared_databases.orders_url, redis_url=redis_url)
        run_alone(settings, lambda http: talk(http, shared_databases))


def test_a_request_waits_for_postgresql_during_a_short_absence(
    stores: Stores, redis_url: str
) -> None:
    async def talk(http: httpx2.AsyncClient, shared_databases: Databases) -> None:
        await placed(http)
        shut(stores, shared_databases)
        repeats = samples("order_engine_commit_repeats_total", statement="place", reason="lost")
        waiting = asyncio.create_task(post(http))
        await asyncio.to_thread(
            wait_until,
            lambda: (
                samples("order_engine_commit_repeats_total", statement="place", reason="lost")
                > repeats
            ),
            timeout_s=5,
        )
        open_again(stores, shared_databases)

        assert (await waiting).status_code == 201

    with fresh_databases(stores) as shared_databases:
        settings = some_settings(database_url=shared_databases.orders_url, redis_url=redis_url)
        run_alone(settings, lambda http: talk(http, shared_databases))


def shut(stores: Stores, shared_databases: Databases) -> None:
    """Ends all connections to the orders database and refuses new ones."""
    name = psycopg2.extensions.parse_dsn(shared_databases.orders_url)["dbname"]
    execute(stores.postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    execute(
        stores.postgres_url,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
    )


def open_again(stores: Stores, shared_databases: Databases) -> None:
    name = psycopg2.extensions.parse_dsn(shared_databases.orders_url)["dbname"]
    execute(stores.postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
