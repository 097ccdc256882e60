"""What travels over the two streams, as AsyncAPI 3.0; `docs/streams.md` says the same in words.

The streams are ws-gateway's. This process describes them, so that everything there is to know about
the engine is found at one door; tests hold the real frames against these schemas.
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
from order_engine.gateway.contract.answers import Answer, Id, Price, Timestamp
from order_engine.gateway.contract.schemas import REF, Schemas

ABOUT = """
Every status of an order, in order, each once, from any `seq` on.

A connection may end at any time: connect again with `after` = the last `seq` that you have. Ignore
messages of a `type`, and fields, that you do not know.
"""

CLOSE_CODES: Mapping[int, str] = {
    1000: "The final status has been sent: do not come back.",
    1002: "You sent what is no WebSocket: a mistake of the client.",
    1007: "You sent a text that is not UTF-8: a mistake of the client.",
    1008: "A message took more than 10 seconds from its first fragment to its last: a mistake of the"
    " client.",
    1009: "Your message was above 16 KiB: a mistake of the client.",
    1011: "The engine failed, or its ping was not answered in time: come again with the last seq.",
    1012: "The engine restarts, or could not read the order now: come again with the last seq.",
    4400: "`after` is malformed: a mistake of the client.",
    4401: "No API key, or a wrong or revoked one: get another first.",
    4403: "The key lacks the scope `read`, or the page is of a foreign origin.",
    4404: "No such order, or not one of this account.",
    4408: "You read too slowly; nothing is lost: come again with the last seq.",
    4429: "Too many connections of this key or address, or in all: come again later.",
}
OF_ONE_ORDER = frozenset({1000, 4400, 4404})  # the multiplexed stream has errors and ends instead

ERROR_CODES: Mapping[str, str] = {
    "bad_request": "not JSON, or none of the messages described here",
    "order_not_found": "no such order, or not one of this account",
    "too_many_subscriptions": "this connection follows as many orders as one may",
    "store_unavailable": "the order could not be read now: ask again",
}

Value = TypeVar("Value")
# A field that is there once it is known.
Known = Annotated[
    Value | SkipJsonSchema[None], Field(json_schema_extra=lambda schema: schema.pop("default"))
]

AFTER_MAX = 999_999_999
AFTER: Mapping[str, Any] = {
    "type": "integer",
    "minimum": 0,
    "maximum": AFTER_MAX,
    "default": 0,
    "description": "The `seq` of the last status that you have; 0 for all.",
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
    error_code: Annotated[Known[str], Field(description="At `failed`: a stable name.")] = None
    error_reason: Annotated[Known[str], Field(description="At `failed`: the same in words.")] = None


class Ping(Answer):
    """The stream is alive, and there was no news for 20 seconds."""

    type: Literal["ping"]


class StreamError(Answer):
    """What you asked for was not done, and changed nothing; the connection stays as it was."""

    type: Literal["error"]
    code: Annotated[
        str,
        Field(
            description="; ".join(f"`{code}`: {words}" for code, words in ERROR_CODES.items())
            + ". Others may be added.",
            examples=list(ERROR_CODES),
        ),
    ]
    order_id: Annotated[
        Known[str],
        Field(
            description="As you wrote it; absent where you wrote none, and where it is above 64"
            " characters or holds half a character (a lone surrogate)."
        ),
    ] = None


class End(Answer):
    """The final status of this order has been sent; it is followed no more."""

    type: Literal["end"]
    order_id: Id


class Subscribe(Answer):
    """Follow an order; where it is followed already, have it sent again from `after` on."""

    op: Literal["subscribe"]
    order_id: Id
    after: Annotated[int, Field(ge=0, le=AFTER_MAX, description=AFTER["description"])] = 0


class Unsubscribe(Answer):
    """Follow an order no longer. What was on its way may still arrive."""

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
        "description": "An API key with the scope `read`, in the handshake's Authorization header."
        " An engine in open mode asks for none.",
    },
    "streamToken": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "For browsers: what `POST /api/stream-tokens` answered, good for one"
        " connection within a minute.",
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
        "description": "Begins with whatever has happened, goes on live, ends with the order.",
        "parameters": {"orderId": {"description": "The order, as its acknowledgement named it."}},
        "messages": _messages("status", "ping"),
        "bindings": _bindings(after=AFTER),
        "x-close-codes": _close_codes(),
    }


def _multiplexed_stream() -> Mapping[str, Any]:
    return {
        "address": "/api/stream",
        "title": "Many orders over one connection",
        "description": "Say which orders to follow, and which no longer, at any time.",
        "messages": _messages(*MESSAGES),
        "bindings": _bindings(),
        "x-close-codes": _close_codes(except_for=OF_ONE_ORDER),
    }


def _close_codes(*, except_for: Collection[int] = ()) -> Mapping[str, str]:
    return {str(code): words for code, words in CLOSE_CODES.items() if code not in except_for}


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
