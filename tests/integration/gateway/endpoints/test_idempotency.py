"""Idempotency keys: the same key gives the same order."""

import asyncio
import json

import httpx2

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.settings import GatewaySettings
from support.gateway_client import (
    WITHIN_S,
    a_body,
    a_key,
    is_problem,
    led,
    placed,
    post,
    run,
    run_alone,
    with_key,
)
from support.stores import Databases


def test_thirty_concurrent_requests_with_one_key_create_one_order(
    gateway: str, shared_databases: Databases
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        answers = await asyncio.gather(*(post(http, key=key) for _ in range(30)))
        replays = [answer for answer in answers if answer.status_code == 200]

        assert sorted(answer.status_code for answer in answers) == [200] * 29 + [201]
        assert len({answer.json()["orderId"] for answer in answers}) == 1
        assert {answer.headers["idempotent-replayed"] for answer in replays} == {"true"}
        assert len(with_key(shared_databases, key)) == 1

    run(gateway, talk)


def test_one_key_at_two_gateways_creates_one_order(
    gateway: str, settings: GatewaySettings, shared_databases: Databases
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

    assert len(with_key(shared_databases, key)) == 1


def test_a_replay_has_the_current_status(gateway: str, shared_databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        first = await post(http, key=key)
        await led(shared_databases, first.json()["orderId"], to=OrderStatus.SUBMITTED)
        again = await post(http, key=key)

        assert again.status_code == 200
        assert again.json() == first.json() | {"status": "submitted"}

    run(gateway, talk)


def test_a_key_may_be_in_the_header_the_body_or_both(gateway: str) -> None:
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


def test_a_key_cannot_be_reused_for_another_body(gateway: str, shared_databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        await post(http, key=key)
        answer = await post(http, key=key, amountIn="101")

        assert is_problem(answer, 422, "idempotency_key_reused")
        assert len(with_key(shared_databases, key)) == 1

    run(gateway, talk)


def test_two_different_keys_are_refused(gateway: str, shared_databases: Databases) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        header, body = a_key(), a_key()
        answer = await post(http, key=header, clientOrderId=body)

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/clientOrderId"]
        assert with_key(shared_databases, header) == with_key(shared_databases, body) == []

    run(gateway, talk)


def test_two_different_key_headers_are_refused(gateway: str, shared_databases: Databases) -> None:
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
        assert with_key(shared_databases, one) == with_key(shared_databases, other) == []

    run(gateway, talk)


def test_without_a_key_equal_requests_create_two_orders(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert await placed(http) != await placed(http)

    run(gateway, talk)
