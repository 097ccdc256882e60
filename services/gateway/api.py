"""The HTTP door: orders come in, are committed, and only then hinted to the workers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import uuid_utils
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from execution import metrics
from execution.adapters.frames import timestamp
from execution.adapters.group_commit import GroupCommit
from execution.adapters.orders import Orders
from execution.adapters.postgres import Reader
from execution.adapters.queues import Hints, order_hint, status_hint
from execution.adapters.redis_clients import redis_client
from execution.domain.errors import ExecutionError, OrderNotFound
from execution.domain.event import OrderEvent
from execution.domain.ids import OrderId
from execution.domain.order import Order
from execution.domain.status import OrderStatus
from execution.settings import GatewaySettings
from gateway.measured import Measured
from gateway.problems import (
    BacklogFull,
    BodyTooLarge,
    KeyReused,
    NotCancellable,
    SlowBody,
    WrongContentType,
    answer_execution_error,
    answer_http_error,
    answer_unexpected,
)
from gateway.requests import read_form
from gateway.watch import Watch

NAME = "gateway"
BODY_TIMEOUT_S = 10.0


async def execute(request: Request) -> Response:
    state = request.app.state
    if state.watch.backlog_is_full:
        raise BacklogFull("too many orders are waiting")
    form = read_form(await _body(request))
    order = form.order(
        OrderId(UUID(bytes=uuid_utils.uuid7().bytes)),
        idempotency_key=request.headers.get("idempotency-key"),
    )
    orders: Orders = state.orders
    placed = await orders.place(order)
    if not placed.created:
        if not placed.same_request:
            raise KeyReused("this key belongs to an order with another body")
        return _accepted(placed.order_id, placed.status, status_code=200, replayed=True)
    metrics.ORDERS_PLACED.inc()
    pending = OrderEvent(
        order_id=order.id,
        seq=1,
        status=OrderStatus.PENDING,
        occurred_at=placed.created_at,
        payload={},
    )
    state.hints.send(order_hint(order.id, created_at=placed.created_at), status_hint(pending))
    return _accepted(order.id, placed.status, status_code=201)


async def get_order(request: Request) -> Response:
    order = await request.app.state.orders.get(_order_id(request))
    if order is None:
        raise OrderNotFound("no such order")
    return JSONResponse({"success": True, "order": _order_body(order)})


async def get_events(request: Request) -> Response:
    order_id = _order_id(request)
    events = await request.app.state.orders.history(order_id)
    if not events:
        raise OrderNotFound("no such order")
    return JSONResponse({"success": True, "events": [_event_body(event) for event in events]})


async def cancel(request: Request) -> Response:
    order_id = _order_id(request)
    answer = await request.app.state.orders.cancel(order_id)
    if answer is None:
        raise OrderNotFound("no such order")
    if answer.event is not None:
        request.app.state.hints.send(status_hint(answer.event))
    if not answer.cancelled:
        raise NotCancellable(f"the order is {answer.status}")
    return JSONResponse(
        {"success": True, "orderId": str(order_id), "status": answer.status}, status_code=202
    )


async def only_post(request: Request) -> Response:
    """Without it a GET would look for an order whose id is `execute`."""
    raise HTTPException(405, headers={"Allow": "POST"})


async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok", "timestamp": timestamp(datetime.now(UTC))})


ROUTES = [
    Route("/health", health),
    Route("/api/orders/execute", execute, methods=["POST"]),
    Route("/api/orders/execute", only_post),
    Route("/api/orders/{order_id}", get_order),
    Route("/api/orders/{order_id}/events", get_events),
    Route("/api/orders/{order_id}/cancel", cancel, methods=["POST"]),
]


def gateway_app(settings: GatewaySettings) -> Starlette:
    """The ASGI application; its lifespan opens and closes what it works with."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        commits = GroupCommit(settings.database_url, application_name=NAME)
        reader = Reader(
            settings.database_url,
            application_name=NAME,
            connections_max=settings.database_connections_max,
        )
        hints = Hints(redis_client(settings.queue_url), now=lambda: datetime.now(UTC))
        orders = Orders(commits, reader, claimer=NAME)
        app.state.orders = orders
        app.state.hints = hints
        app.state.watch = Watch(
            orders,
            redis_client(settings.queue_url),
            orders_waiting_max=settings.orders_waiting_max,
            now=lambda: datetime.now(UTC),
        )
        app.state.body_bytes_max = settings.body_bytes_max
        watching = asyncio.create_task(app.state.watch.run())
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        hints.close()
        orders.close()

    return Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[
            Middleware(Measured),
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type", "Idempotency-Key"],
                expose_headers=["Idempotent-Replayed", "Retry-After"],
            ),
        ],
        exception_handlers={
            ExecutionError: answer_execution_error,
            404: answer_http_error,
            405: answer_http_error,
            Exception: answer_unexpected,
        },
    )


async def _body(request: Request) -> bytes:
    """The body of a JSON request, bounded in size and time."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise WrongContentType("send the order as application/json")
    most = request.app.state.body_bytes_max
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise BodyTooLarge(f"an order takes at most {most} bytes")
    except TimeoutError:
        raise SlowBody(f"the body must arrive within {BODY_TIMEOUT_S:g} s") from None
    return bytes(body)


def _order_id(request: Request) -> OrderId:
    text = request.path_params["order_id"]
    try:
        order_id = UUID(text)
    except ValueError:
        raise OrderNotFound("no such order") from None
    if str(order_id) != text.lower():  # UUID() also reads braces and URNs
        raise OrderNotFound("no such order")
    return OrderId(order_id)


def _accepted(
    order_id: OrderId, status: OrderStatus, *, status_code: int, replayed: bool = False
) -> Response:
    return JSONResponse(
        {
            "success": True,
            "orderId": str(order_id),
            "status": status,
            "message": "Order created and queued for execution",
        },
        status_code,
        headers={"Idempotent-Replayed": "true"} if replayed else None,
    )


def _order_body(order: Order) -> Mapping[str, Any]:
    return {
        "orderId": str(order.id),
        "type": order.type,
        "tokenIn": order.token_in,
        "tokenOut": order.token_out,
        "amountIn": f"{order.amount_in:f}",
        "slippageTolerance": float(order.slippage_tolerance),
        "minAmountOut": None if order.min_amount_out is None else f"{order.min_amount_out:f}",
        "status": order.status,
        "dexType": order.dex_type,
        "executedPrice": None if order.executed_price is None else f"{order.executed_price:.8f}",
        "amountOut": None if order.amount_out is None else f"{order.amount_out:f}",
        "txHash": order.tx_hash,
        "errorCode": order.error_code,
        "errorReason": order.error_reason,
        "createdAt": timestamp(order.created_at),
        "updatedAt": timestamp(order.updated_at),
    }


def _event_body(event: OrderEvent) -> Mapping[str, Any]:
    return {
        "seq": event.seq,
        "status": event.status,
        "timestamp": timestamp(event.occurred_at),
        **event.payload,
    }
