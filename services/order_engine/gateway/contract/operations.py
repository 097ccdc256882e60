"""Every operation of the HTTP API: its route, parameters, scope, responses and problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.errors import (
    ExecutionError,
    OrderNotFound,
    Overloaded,
    StoreUnavailable,
)
from order_engine.gateway.contract import answers
from order_engine.gateway.contract.fields import KEY, KEY_ID, described_by
from order_engine.gateway.contract.forms import Form, KeyForm, OrderForm
from order_engine.gateway.contract.problems import (
    BacklogFull,
    BodyTooLarge,
    EncodedBody,
    Forbidden,
    ForeignPage,
    InvalidBody,
    InvalidKey,
    InvalidOrder,
    InvalidQuery,
    KeyNotFound,
    KeyReused,
    NotCancellable,
    SlowBody,
    TooManyRequests,
    Unauthorized,
    WrongContentType,
)
from order_engine.gateway.contract.queries import KeyQuery, ListQuery, Query

ErrorType = type[ExecutionError]

OF_SCOPED: Sequence[ErrorType] = (Unauthorized, Forbidden, Overloaded, StoreUnavailable)
OF_BODIES: Sequence[ErrorType] = (
    InvalidBody,
    SlowBody,
    BodyTooLarge,
    WrongContentType,
    EncodedBody,
)

EXAMPLE_ORDER_ID = "019c0000-0000-7000-8000-000000000001"

ORDER_ID = {
    "name": "orderId",
    "in": "path",
    "required": True,
    "description": "The `orderId` from the response to `placeOrder`.",
    "schema": {"type": "string", "format": "uuid"},
    "example": EXAMPLE_ORDER_ID,
}
KEY_ID_PARAMETER = {
    "name": "keyId",
    "in": "path",
    "required": True,
    "description": "The `id` of the key.",
    "schema": {"type": "string", **described_by(KEY_ID)},
    "example": "00112233aabbccdd",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes it safe to retry: the same key and body give the same order. Any unique"
    " text, such as a UUID: 1 to 128 printable ASCII characters without spaces.",
    "schema": {"type": "string", **described_by(KEY)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `problems`: the errors besides those that many operations share."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    answer: type[BaseModel]
    responses: Mapping[int, str]
    scope: Scope | None = None
    problems: Sequence[ErrorType] = ()
    body: type[Form] | None = None
    parameters: Sequence[Mapping[str, Any]] = ()
    query: type[Query] | None = None

    @property
    def all_problems(self) -> Sequence[ErrorType]:
        return (
            *self.problems,
            *(OF_SCOPED if self.scope else ()),
            *(() if self.method == "get" else (ForeignPage,)),
            *(OF_BODIES if self.body else ()),
            TooManyRequests,
        )


OPERATIONS = (
    Operation(
        id="placeOrder",
        method="post",
        path="/api/orders/execute",
        tag="orders",
        summary="Place a market order",
        description="`201` means that the order is committed and will end as `confirmed` or"
        " `failed`, whatever fails meanwhile. Send an idempotency key, and repeat the same request"
        " when no response arrives.",
        scope=Scope.TRADE,
        body=OrderForm,
        answer=answers.Accepted,
        responses={
            201: "The order is committed.",
            200: "An earlier request with this key placed the order; no new order was placed.",
        },
        problems=[InvalidOrder, KeyReused, BacklogFull],
        parameters=[IDEMPOTENCY_KEY],
    ),
    Operation(
        id="listOrders",
        method="get",
        path="/api/orders",
        tag="orders",
        summary="List orders, newest first",
        scope=Scope.READ,
        answer=answers.OrderPage,
        responses={200: "One page of orders."},
        problems=[InvalidQuery],
        query=ListQuery,
    ),
    Operation(
        id="getOrder",
        method="get",
        path="/api/orders/{orderId}",
        tag="orders",
        summary="Get an order",
        scope=Scope.READ,
        answer=answers.OneOrder,
        responses={200: "The current state of the order."},
        problems=[OrderNotFound],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="listOrderEvents",
        method="get",
        path="/api/orders/{orderId}/events",
        tag="orders",
        summary="List the events of an order",
        description="One event for each status, with the quotes that decided the route. A stream sends"
        " the same events as they happen.",
        scope=Scope.READ,
        answer=answers.Events,
        responses={200: "The events so far, in order of `seq`."},
        problems=[OrderNotFound],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="cancelOrder",
        method="post",
        path="/api/orders/{orderId}/cancel",
        tag="orders",
        summary="Cancel an order before it is submitted",
        description="A repeated call changes nothing and gets the same response.",
        scope=Scope.TRADE,
        answer=answers.Cancelled,
        responses={
            202: "The order has failed with `cancelled`; it was not and will not be swapped."
        },
        problems=[OrderNotFound, NotCancellable],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="issueStreamToken",
        method="post",
        path="/api/stream-tokens",
        tag="streams",
        summary="Create a token that opens one stream",
        description="For browsers, which cannot send an API key with a WebSocket: they send `?token=`.",
        scope=Scope.READ,
        answer=answers.StreamToken,
        responses={201: "A token for one connection."},
    ),
    Operation(
        id="createKey",
        method="post",
        path="/api/keys",
        tag="keys",
        summary="Create an API key",
        scope=Scope.ADMIN,
        body=KeyForm,
        answer=answers.NewKey,
        responses={201: "The key, with its secret."},
        problems=[InvalidKey],
    ),
    Operation(
        id="listKeys",
        method="get",
        path="/api/keys",
        tag="keys",
        summary="List API keys, newest first",
        scope=Scope.ADMIN,
        answer=answers.AllKeys,
        responses={200: "At most 1,000 keys without their secrets, including revoked ones."},
        problems=[InvalidQuery],
        query=KeyQuery,
    ),
    Operation(
        id="revokeKey",
        method="delete",
        path="/api/keys/{keyId}",
        tag="keys",
        summary="Revoke an API key",
        description="Takes effect at once in every process. A repeated call changes nothing.",
        scope=Scope.ADMIN,
        answer=answers.OneKey,
        responses={200: "The key is revoked."},
        problems=[KeyNotFound],
        parameters=[KEY_ID_PARAMETER],
    ),
    Operation(
        id="getHealth",
        method="get",
        path="/health",
        tag="health",
        summary="Check that the gateway accepts requests",
        answer=answers.Healthy,
        responses={200: "This process accepts requests."},
    ),
)
