"""Orders come in, are committed, and only then hinted to the workers."""

import asyncio
from uuid import UUID

import uuid_utils
from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution import metrics
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import OrderNotFound
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.execution.messages.hints import Hints
from order_engine.execution.orders.placement import Placed
from order_engine.execution.orders.repository import Orders
from order_engine.gateway.contract import answers
from order_engine.gateway.contract.forms import OrderForm, read_form
from order_engine.gateway.contract.problems import (
    BacklogFull,
    BodyTooLarge,
    EncodedBody,
    FieldError,
    InvalidOrder,
    KeyReused,
    NotCancellable,
    SlowBody,
    WrongContentType,
)
from order_engine.gateway.contract.queries import ListQuery, cursor, read_query

BODY_TIMEOUT_S = 10.0


async def execute(request: Request, caller: Caller) -> Response:
    state = request.app.state
    if state.watch.backlog_is_full:
        raise BacklogFull("too many orders are waiting")
    form = read_form(OrderForm, await read_body(request))
    order = form.order(
        OrderId(UUID(bytes=uuid_utils.uuid7().bytes)),
        account_id=caller.account_id,
        idempotency_key=_idempotency_key(request),
    )
    orders: Orders = state.orders
    placed = await orders.place(order)
    if placed.created:
        _announce(request, placed)
    elif not placed.same_request:
        raise KeyReused("this key belongs to an order with another body")
    accepted = answers.Accepted(order_id=str(placed.order_id), status=placed.status)
    if placed.created:
        return accepted.response(201)
    return accepted.response(200, headers={"Idempotent-Replayed": "true"})


def _idempotency_key(request: Request) -> str | None:
    keys = set(request.headers.getlist("idempotency-key"))
    if len(keys) > 1:
        raise InvalidOrder([FieldError(pointer="Idempotency-Key", detail="comes with two values")])
    return keys.pop() if keys else None


def _announce(request: Request, placed: Placed) -> None:
    hints: Hints = request.app.state.hints
    metrics.ORDERS_PLACED.inc()
    hints.order_waits(placed.order_id, created_at=placed.event.occurred_at)
    hints.order_moved(placed.event)


async def list_orders(request: Request, caller: Caller) -> Response:
    query = read_query(ListQuery, request.query_params)
    orders: Orders = request.app.state.orders
    found = await orders.page(query.page(caller.account_id))
    page = found[: query.limit]
    return answers.Orders(
        orders=[answers.order_body(order) for order in page],
        next_cursor=cursor(page[-1]) if len(found) > len(page) else None,
    ).response()


async def get_order(request: Request, caller: Caller) -> Response:
    orders: Orders = request.app.state.orders
    order = await orders.get(_order_id(request), account_id=caller.account_id)
    if order is None:
        raise OrderNotFound("no such order")
    return answers.OneOrder(order=answers.order_body(order)).response()


async def get_events(request: Request, caller: Caller) -> Response:
    orders: Orders = request.app.state.orders
    history = await orders.history(_order_id(request))
    if history is None or history.account_id != caller.account_id:
        raise OrderNotFound("no such order")
    return answers.Events(events=[answers.event_body(e) for e in history.events]).response()


async def cancel(request: Request, caller: Caller) -> Response:
    order_id = _order_id(request)
    state = request.app.state
    orders: Orders = state.orders
    answer = await orders.cancel(order_id, account_id=caller.account_id)
    if answer is None:
        raise OrderNotFound("no such order")
    if answer.event is not None:
        state.hints.order_moved(answer.event)
    if not answer.cancelled:
        raise NotCancellable(f"the order is {answer.status}")
    return answers.Cancelled(order_id=str(order_id), status=answer.status).response(202)


async def read_body(request: Request) -> bytes:
    """The body of a JSON request, bounded in size and time."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise WrongContentType("send the body as application/json")
    if request.headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise EncodedBody("send the body as it is, without a Content-Encoding")
    most = request.app.state.body_bytes_max
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise BodyTooLarge(f"the body may have {most} bytes at most")
    except TimeoutError:
        raise SlowBody(f"the body must arrive within {BODY_TIMEOUT_S:g} s") from None
    return bytes(body)


def _order_id(request: Request) -> OrderId:
    order_id = order_id_in(request.path_params["order_id"])
    if order_id is None:
        raise OrderNotFound("no such order")
    return order_id
