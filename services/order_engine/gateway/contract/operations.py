"""Every operation of the HTTP door: what it asks for, and all that it may answer with."""

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

Refusal = type[ExecutionError]

OF_A_SCOPE: Sequence[Refusal] = (Unauthorized, Forbidden, Overloaded, StoreUnavailable)
OF_A_BODY: Sequence[Refusal] = (
    InvalidBody,
    SlowBody,
    BodyTooLarge,
    WrongContentType,
    EncodedBody,
)

AN_ORDER = "019c0000-0000-7000-8000-000000000001"

ORDER_ID = {
    "name": "orderId",
    "in": "path",
    "required": True,
    "description": "The order, as its acknowledgement named it.",
    "schema": {"type": "string", "format": "uuid"},
    "example": AN_ORDER,
}
REVOKED_KEY = {
    "name": "keyId",
    "in": "path",
    "required": True,
    "description": "The key's `id`, which is no secret.",
    "schema": {"type": "string", **described_by(KEY_ID)},
    "example": "00112233aabbccdd",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes it safe to send the order again: the same key and body give the same"
    " order. Your own unique text, such as a UUID.",
    "schema": {"type": "string", **described_by(KEY)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route and method. `refusals` are those that only this operation knows."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str = ""
    answer: type[BaseModel]
    answered: Mapping[int, str]
    scope: Scope | None = None
    refusals: Sequence[Refusal] = ()
    body: type[Form] | None = None
    parameters: Sequence[Mapping[str, Any]] = ()
    query: type[Query] | None = None

    @property
    def every_refusal(self) -> Sequence[Refusal]:
        return (
            *self.refusals,
            *(OF_A_SCOPE if self.scope else ()),
            *(() if self.method == "get" else (ForeignPage,)),
            *(OF_A_BODY if self.body else ()),
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
        " `failed`, whatever breaks meanwhile. Send an idempotency key, and send the same request"
        " again when no answer came.",
        scope=Scope.TRADE,
        body=OrderForm,
        answer=answers.Accepted,
        answered={
            201: "The order is committed.",
            200: "An earlier request with this key has placed the order; nothing new was placed.",
        },
        refusals=[InvalidOrder, KeyReused, BacklogFull],
        parameters=[IDEMPOTENCY_KEY],
    ),
    Operation(
        id="listOrders",
        method="get",
        path="/api/orders",
        tag="orders",
        summary="List orders, the newest first",
        scope=Scope.READ,
        answer=answers.Orders,
        answered={200: "One page of orders."},
        refusals=[InvalidQuery],
        query=ListQuery,
    ),
    Operation(
        id="getOrder",
        method="get",
        path="/api/orders/{orderId}",
        tag="orders",
        summary="Show an order",
        scope=Scope.READ,
        answer=answers.OneOrder,
        answered={200: "The order as it stands."},
        refusals=[OrderNotFound],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="listOrderEvents",
        method="get",
        path="/api/orders/{orderId}/events",
        tag="orders",
        summary="List every status that an order has had",
        description="With the quotes that decided the route. Streams tell the same as it happens.",
        scope=Scope.READ,
        answer=answers.Events,
        answered={200: "The statuses so far, in order of `seq`."},
        refusals=[OrderNotFound],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="cancelOrder",
        method="post",
        path="/api/orders/{orderId}/cancel",
        tag="orders",
        summary="Cancel an order that is not submitted yet",
        description="Again changes nothing, and is answered as the first time.",
        scope=Scope.TRADE,
        answer=answers.Cancelled,
        answered={202: "The order has failed as `cancelled`; nothing was or will be swapped."},
        refusals=[OrderNotFound, NotCancellable],
        parameters=[ORDER_ID],
    ),
    Operation(
        id="issueStreamToken",
        method="post",
        path="/api/stream-tokens",
        tag="streams",
        summary="Get what opens one stream from a browser",
        description="Browsers cannot send a key with a WebSocket: they open it with `?token=`.",
        scope=Scope.READ,
        answer=answers.StreamToken,
        answered={201: "A token for one connection."},
    ),
    Operation(
        id="createKey",
        method="post",
        path="/api/keys",
        tag="keys",
        summary="Make an API key",
        scope=Scope.ADMIN,
        body=KeyForm,
        answer=answers.NewKey,
        answered={201: "The key, with its secret."},
        refusals=[InvalidKey],
    ),
    Operation(
        id="listKeys",
        method="get",
        path="/api/keys",
        tag="keys",
        summary="List API keys, the newest first",
        scope=Scope.ADMIN,
        answer=answers.AllKeys,
        answered={200: "Keys without their secrets, revoked ones too; at most a thousand."},
        refusals=[InvalidQuery],
        query=KeyQuery,
    ),
    Operation(
        id="revokeKey",
        method="delete",
        path="/api/keys/{keyId}",
        tag="keys",
        summary="Revoke an API key, at once and everywhere",
        description="Again changes nothing.",
        scope=Scope.ADMIN,
        answer=answers.OneKey,
        answered={200: "The key opens nothing any more."},
        refusals=[KeyNotFound],
        parameters=[REVOKED_KEY],
    ),
    Operation(
        id="getHealth",
        method="get",
        path="/health",
        tag="health",
        summary="Say that the door is open",
        answer=answers.Healthy,
        answered={200: "This process takes requests."},
    ),
)
