"""Endpoints of orders. An order is committed first; hints to the workers follow."""

from uuid import UUID

import uuid_utils
from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution import metrics
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import OrderNotFound
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.gateway.contract import answers
from order_engine.gateway.contract.forms import OrderForm, read_form
from order_engine.gateway.contract.problems import (
    BacklogFull,
    FieldError,
    InvalidOrder,
    KeyReused,
    NotCancellable,
)
from order_engine.gateway.contract.queries import ListQuery, cursor, read_query
from order_engine.gateway.endpoints.bodies import read_body
from order_engine.gateway.services import services

REPLAYED = (b"idempotent-replayed", b"true")
NO_SUCH_ORDER = "this account has no order with this id"


async def execute(request: Request, caller: Caller) -> Response:
    state = services(request)
    if state.monitor.backlog_is_full:
        raise BacklogFull("too many orders are waiting")
    form = read_form(OrderForm, await read_body(request, bytes_max=state.body_bytes_max))
    order = form.order(
        OrderId(UUID(bytes=uuid_utils.uuid7().bytes)),
        account_id=caller.account_id,
        idempotency_key=_idempotency_key(request),
    )
    placed = await state.orders.place(order)
    if placed.created:
        metrics.ORDERS_PLACED.inc()
    elif not placed.same_request:
        raise KeyReused("this idempotency key was used for an order with another body")
    if placed.created:
        return answers.accepted(placed.order_id, placed.status, 201)
    return answers.accepted(placed.order_id, placed.status, 200, REPLAYED)


def _idempotency_key(request: Request) -> str | None:
    keys = set(request.headers.getlist("idempotency-key"))
    if len(keys) > 1:
        detail = "sent twice with different values"
        raise InvalidOrder([FieldError(pointer="Idempotency-Key", detail=detail)])
    return keys.pop() if keys else None


async def list_orders(request: Request, caller: Caller) -> Response:
    query = read_query(ListQuery, request.query_params)
    found = await services(request).orders.page(query.page(caller.account_id))
    page = found[: query.limit]
    return answers.OrderPage(
        orders=[answers.order_body(order) for order in page],
        next_cursor=cursor(page[-1]) if len(found) > len(page) else None,
    ).response()


async def get_order(request: Request, caller: Caller) -> Response:
    order = await services(request).orders.get(_order_id(request), account_id=caller.account_id)
    if order is None:
        raise OrderNotFound(NO_SUCH_ORDER)
    return answers.OneOrder(order=answers.order_body(order)).response()


async def get_events(request: Request, caller: Caller) -> Response:
    history = await services(request).orders.history(_order_id(request))
    if history is None or history.account_id != caller.account_id:
        raise OrderNotFound(NO_SUCH_ORDER)
    events = [answers.event_body(event) for event in history.events]
    return answers.Events(events=events).response()


async def cancel(request: Request, caller: Caller) -> Response:
    order_id = _order_id(request)
    outcome = await services(request).orders.cancel(order_id, account_id=caller.account_id)
    if outcome is None:
        raise OrderNotFound(NO_SUCH_ORDER)
    if not outcome.cancelled:
        raise NotCancellable(f"the order is already {outcome.status}")
    return answers.Cancelled(order_id=str(order_id), status=outcome.status).response(202)


def _order_id(request: Request) -> OrderId:
    order_id = order_id_in(request.path_params["order_id"])
    if order_id is None:
        raise OrderNotFound(NO_SUCH_ORDER)
    return order_id
