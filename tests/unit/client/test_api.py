import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from starlette.responses import HTMLResponse, JSONResponse

from order_engine.client import (
    EngineClient,
    EngineUnavailable,
    OrderNotFound,
    RequestRefused,
    UnexpectedAnswer,
)
from order_engine.client.answers import Acknowledgement, Cancellation, OrderView
from order_engine.execution.domain.status import OrderStatus
from unit.client.fake_engine import ORDER_ID, FakeGateway, a_closed_port, fake_gateway, run


def acknowledged(status_code: int = 201, **headers: str) -> JSONResponse:
    return JSONResponse(
        {
            "success": True,
            "orderId": str(ORDER_ID),
            "status": "pending",
            "message": "Order created and queued for execution",
        },
        status_code,
        headers,
    )


def an_order(**changes: Any) -> JSONResponse:
    order = {
        "orderId": str(ORDER_ID),
        "type": "market",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "100.000000000000000001",
        "slippageTolerance": 0.1,
        "minAmountOut": None,
        "status": "pending",
        "dexType": None,
        "executedPrice": None,
        "amountOut": None,
        "txHash": None,
        "errorCode": None,
        "errorReason": None,
        "createdAt": "2024-01-01T00:00:00.000Z",
        "updatedAt": "2024-01-01T00:00:10.125Z",
    }
    return JSONResponse({"success": True, "order": order | changes})


def a_problem(status: int, code: str, **members: Any) -> JSONResponse:
    return JSONResponse(
        {"title": code, "status": status, "code": code, "success": False} | members,
        status,
        media_type="application/problem+json",
    )


async def place(gateway: FakeGateway, **changes: Any) -> Acknowledgement:
    order: dict[str, Any] = {
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": Decimal(100),
        "slippage_tolerance": Decimal("0.5"),
    }
    async with EngineClient(gateway.url) as client:
        return await client.place_order(**order | changes)


async def get(gateway: FakeGateway) -> OrderView:
    async with EngineClient(gateway.url) as client:
        return await client.get_order(ORDER_ID)


def test_a_placed_order_is_acknowledged() -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            assert await place(gateway) == Acknowledgement(
                order_id=ORDER_ID,
                status=OrderStatus.PENDING,
                message="Order created and queued for execution",
                replayed=False,
            )

    run(scenario())


def test_an_order_is_sent_with_the_field_names_of_the_api() -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            await place(gateway, min_amount_out="99.50")

            (request,) = gateway.requests
            assert (request.method, request.path) == ("POST", "/api/orders/execute")
            assert request.headers["Content-Type"] == "application/json"
            assert request.body == {
                "tokenIn": "SOL",
                "tokenOut": "USDC",
                "amountIn": "100",
                "slippageTolerance": 0.5,
                "minAmountOut": "99.50",
            }

    run(scenario())


def test_a_minimum_that_is_not_set_is_not_sent() -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            await place(gateway)

            assert "minAmountOut" not in gateway.requests[0].body

    run(scenario())


@pytest.mark.parametrize(
    ("amount", "sent"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-18"), "0.000000000000000001"),
        (Decimal("1.50"), "1.50"),
        ("007.0", "007.0"),
    ],
)
def test_an_amount_is_sent_without_an_exponent(amount: Decimal | str, sent: str) -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            await place(gateway, amount_in=amount)

            assert gateway.requests[0].body["amountIn"] == sent

    run(scenario())


def test_the_idempotency_key_is_sent() -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            await place(gateway, idempotency_key="key-1")

            assert gateway.requests[0].headers["Idempotency-Key"] == "key-1"

    run(scenario())


def test_without_an_idempotency_key_the_header_is_not_sent() -> None:
    async def scenario() -> None:
        async with fake_gateway(acknowledged()) as gateway:
            await place(gateway)

            assert "Idempotency-Key" not in gateway.requests[0].headers

    run(scenario())


def test_a_replayed_acknowledgement_is_marked() -> None:
    async def scenario() -> None:
        replay = acknowledged(200, **{"Idempotent-Replayed": "true"})
        async with fake_gateway(replay) as gateway:
            assert (await place(gateway, idempotency_key="key-1")).replayed

    run(scenario())


def test_an_invalid_order_is_refused_with_its_fields() -> None:
    async def scenario() -> None:
        errors = [{"pointer": "#/amountIn", "detail": "must be above zero"}]
        async with fake_gateway(a_problem(422, "invalid_order", errors=errors)) as gateway:
            with pytest.raises(RequestRefused) as refused:
                await place(gateway, amount_in="0")

            assert [error.pointer for error in refused.value.errors] == ["#/amountIn"]

    run(scenario())


def test_the_amounts_of_an_order_are_exact_decimals() -> None:
    async def scenario() -> None:
        answer = an_order(executedPrice="1.49500000", amountOut="149.5", minAmountOut="99")
        async with fake_gateway(answer) as gateway:
            order = await get(gateway)

        amounts = (
            order.amount_in,
            order.slippage_tolerance,
            order.executed_price,
            order.amount_out,
            order.min_amount_out,
        )
        assert all(isinstance(amount, Decimal) for amount in amounts)
        assert [str(amount) for amount in amounts] == [
            "100.000000000000000001",
            "0.1",
            "1.49500000",
            "149.5",
            "99",
        ]

    run(scenario())


def test_the_times_of_an_order_are_timezone_aware() -> None:
    async def scenario() -> None:
        async with fake_gateway(an_order()) as gateway:
            order = await get(gateway)

        assert order.created_at == datetime(2024, 1, 1, tzinfo=UTC)
        assert order.updated_at == datetime(2024, 1, 1, 0, 0, 10, 125_000, tzinfo=UTC)

    run(scenario())


def test_unset_fields_of_an_order_are_none() -> None:
    async def scenario() -> None:
        async with fake_gateway(an_order()) as gateway:
            order = await get(gateway)

        assert gateway.requests[0].path == f"/api/orders/{ORDER_ID}"
        assert (order.dex_type, order.executed_price, order.tx_hash) == (None, None, None)

    run(scenario())


def test_an_unknown_order_is_not_found() -> None:
    async def scenario() -> None:
        async with fake_gateway(a_problem(404, "order_not_found")) as gateway:
            with pytest.raises(OrderNotFound):
                await get(gateway)

    run(scenario())


def test_a_cancelled_order_has_failed() -> None:
    async def scenario() -> None:
        answer = JSONResponse({"success": True, "orderId": str(ORDER_ID), "status": "failed"}, 202)
        async with fake_gateway(answer) as gateway, EngineClient(gateway.url) as client:
            cancellation = await client.cancel_order(ORDER_ID)

        (request,) = gateway.requests
        assert (request.method, request.path) == ("POST", f"/api/orders/{ORDER_ID}/cancel")
        assert cancellation == Cancellation(order_id=ORDER_ID, status=OrderStatus.FAILED)

    run(scenario())


def test_a_submitted_order_cannot_be_cancelled() -> None:
    async def scenario() -> None:
        answer = a_problem(409, "not_cancellable")
        async with fake_gateway(answer) as gateway, EngineClient(gateway.url) as client:
            with pytest.raises(RequestRefused) as refused:
                await client.cancel_order(ORDER_ID)

        assert refused.value.code == "not_cancellable"

    run(scenario())


def test_a_healthy_engine_answers_health() -> None:
    async def scenario() -> None:
        answer = JSONResponse({"status": "ok", "timestamp": "2024-01-01T00:00:00.000Z"})
        async with fake_gateway(answer) as gateway, EngineClient(gateway.url) as client:
            assert (await client.health()).status == "ok"

    run(scenario())


def test_the_path_of_the_base_url_is_kept() -> None:
    async def scenario() -> None:
        async with fake_gateway(an_order()) as gateway:
            async with EngineClient(f"{gateway.url}/engine/") as client:
                await client.get_order(ORDER_ID)

            assert gateway.requests[0].path == f"/engine/api/orders/{ORDER_ID}"

    run(scenario())


def test_an_engine_that_refuses_connections_is_unavailable() -> None:
    async def scenario(url: str) -> None:
        async with EngineClient(url) as client:
            with pytest.raises(EngineUnavailable, match=url):
                await client.health()

    with a_closed_port() as url:
        run(scenario(url))


def test_an_engine_that_does_not_answer_in_time_is_unavailable() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client disconnects
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with EngineClient(url, timeout_s=0.1) as client:
                with pytest.raises(EngineUnavailable):
                    await client.health()

    run(scenario())


def test_an_answer_that_is_not_json_is_an_error() -> None:
    async def scenario() -> None:
        async with fake_gateway(HTMLResponse("<html>")) as gateway:
            with pytest.raises(UnexpectedAnswer):
                await get(gateway)

    run(scenario())


@pytest.mark.parametrize("base_url", ["127.0.0.1:3000", "ws://127.0.0.1:3000", "http://", ""])
def test_a_base_url_that_is_not_http_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        EngineClient(base_url)
