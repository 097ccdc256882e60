"""The messages of the two streams as AsyncAPI 3.0; `docs/streams.md` explains them.

The ws-gateway serves the streams. The gateway describes them, so that both documents are found at
one address. Tests hold the real frames to these schemas.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.json_schema import JsonSchemaMode, SkipJsonSchema, models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.stream_contract import (
    AFTER_MAX,
    CLOSE_MEANINGS,
    ERROR_MEANINGS,
    ORDER_ID_CHARS_MAX,
    SINGLE_ORDER_ONLY,
    Close,
    StreamErrorCode,
)
from order_engine.gateway.contract.answers import Answer, Id, Price, Timestamp
from order_engine.gateway.contract.schemas import REF, Schemas

ABOUT = """
Every status of an order, in order, each once, from any `seq` on.

A connection may end at any time: reconnect with `after` set to the last `seq` that you received. Ignore
messages with a `type`, and fields, that you do not know.
"""

Value = TypeVar("Value")
# A field that is absent until its value is known.
Known = Annotated[
    Value | SkipJsonSchema[None], Field(json_schema_extra=lambda schema: schema.pop("default"))
]

AFTER: Mapping[str, Any] = {
    "type": "integer",
    "minimum": 0,
    "maximum": AFTER_MAX,
    "default": 0,
    "description": "The `seq` of the last status that you received; 0 for all.",
}


class StatusFrame(Answer):
    """One status of one order, counted by `seq` from 1 without a gap."""

    order_id: Id
    seq: Annotated[int, Field(ge=1)]
    status: OrderStatus
    timestamp: Timestamp
    tx_hash: Annotated[Known[str], Field(description="At `confirmed`.")] = None
    executed_price: Annotated[
        Known[Price], Field(description="At `confirmed`: what one `tokenIn` brought, after fees.")
    ] = None
    error_code: Annotated[Known[str], Field(description="At `failed`: a stable code.")] = None
    error_reason: Annotated[Known[str], Field(description="At `failed`: the reason as a text.")] = (
        None
    )


class Ping(Answer):
    """The stream is alive; nothing was sent for 20 seconds."""

    type: Literal["ping"]


class StreamError(Answer):
    """A request failed and changed nothing; the connection stays open."""

    type: Literal["error"]
    code: Annotated[
        str,
        Field(
            description="; ".join(f"`{code}`: {words}" for code, words in ERROR_MEANINGS.items())
            + ". Others may be added.",
            examples=[str(code) for code in StreamErrorCode],
        ),
    ]
    order_id: Annotated[
        Known[str],
        Field(
            description="As you sent it; absent when you sent none, and when it has more than"
            f" {ORDER_ID_CHARS_MAX} characters or an unpaired surrogate."
        ),
    ] = None


class End(Answer):
    """The final status of this order has been sent, and its subscription has ended."""

    type: Literal["end"]
    order_id: Id


class Subscribe(Answer):
    """Follow an order; when it is followed already, its stream restarts after `after`."""

    op: Literal["subscribe"]
    order_id: Id
    after: Annotated[int, Field(ge=0, le=AFTER_MAX, description=AFTER["description"])] = 0


class Unsubscribe(Answer):
    """Stop following an order. Messages that were already sent may still arrive."""

    op: Literal["unsubscribe"]
    order_id: Id


SENT: Mapping[str, type[Answer]] = {
    "status": StatusFrame,
    "ping": Ping,
    "error": StreamError,
    "end": End,
}
RECEIVED: Mapping[str, type[Answer]] = {"subscribe": Subscribe, "unsubscribe": Unsubscribe}
MESSAGES: Mapping[str, type[Answer]] = {**SENT, **RECEIVED}

SECURITY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key with the scope `read` in the Authorization header of the"
        " handshake. An engine in open mode needs none.",
    },
    "streamToken": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "For browsers: a token from `POST /api/stream-tokens`. It opens one"
        " connection, within a minute.",
    },
}
SECURITY = [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY_SCHEMES]


async def asyncapi(_: Request) -> Response:
    return Response(json.dumps(document()), media_type="application/json")


@cache
def document() -> Mapping[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order execution engine: streams",
            "version": version("order-execution-engine"),
            "description": ABOUT.strip(),
            "license": {"name": "ISC"},
        },
        "defaultContentType": "application/json",
        "channels": {"orderStream": _order_stream(), "stream": _multiplexed_stream()},
        "operations": {
            "sendOrderStatus": _operation("send", "orderStream", "status", "ping"),
            "sendStatuses": _operation("send", "stream", *SENT),
            "receiveRequests": _operation("receive", "stream", *RECEIVED),
        },
        "components": {
            "messages": {name: _message(name, model) for name, model in MESSAGES.items()},
            "schemas": _schemas(),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _order_stream() -> Mapping[str, Any]:
    return {
        "address": "/api/orders/{orderId}/stream",
        "title": "One order",
        "description": "Sends the statuses so far, then new ones as they happen, and ends with the order.",
        "parameters": {
            "orderId": {"description": "The `orderId` of the answer that accepted the order."}
        },
        "messages": _messages("status", "ping"),
        "bindings": _bindings(after=AFTER),
        "x-close-codes": _close_codes(),
    }


def _multiplexed_stream() -> Mapping[str, Any]:
    return {
        "address": "/api/stream",
        "title": "Many orders",
        "description": "Subscribe to orders and unsubscribe at any time.",
        "messages": _messages(*MESSAGES),
        "bindings": _bindings(),
        "x-close-codes": _close_codes(except_for=SINGLE_ORDER_ONLY),
    }


def _close_codes(*, except_for: Collection[Close] = ()) -> Mapping[str, str]:
    return {
        str(int(code)): words for code, words in CLOSE_MEANINGS.items() if code not in except_for
    }


def _bindings(**query: Mapping[str, Any]) -> Mapping[str, Any]:
    token = {"type": "string", "description": SECURITY_SCHEMES["streamToken"]["description"]}
    properties = {**query, "token": token}
    return {"ws": {"method": "GET", "query": {"type": "object", "properties": properties}}}


def _messages(*names: str) -> Mapping[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _message(name: str, model: type[Answer]) -> Mapping[str, Any]:
    return {
        "name": name,
        "summary": (model.__doc__ or "").partition("\n")[0],
        "payload": {"$ref": REF.format(model=model.__name__)},
    }


def _operation(action: str, channel: str, *messages: str) -> Mapping[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
        "security": SECURITY,
    }


def _schemas() -> Mapping[str, Any]:
    models: list[tuple[type[Answer], JsonSchemaMode]] = [
        (model, "validation") for model in MESSAGES.values()
    ]
    _, found = models_json_schema(models, ref_template=REF, schema_generator=Schemas)
    schemas: Mapping[str, Any] = found["$defs"]
    return schemas
