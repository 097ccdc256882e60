"""What the HTTP door takes and answers, as OpenAPI 3.1, from the very models that check and answer."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from order_engine.gateway.contract import answers
from order_engine.gateway.contract.operations import OPERATIONS, Operation
from order_engine.gateway.contract.problems import ANSWERS, UNEXPECTED, Answer, Problem
from order_engine.gateway.contract.queries import REPEATABLE
from order_engine.gateway.contract.schemas import REF, Schemas

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

ABOUT = """
Takes swap orders, routes each to the venue with the best effective price, and executes it exactly once.

Place an order with `placeOrder`, then follow it: by a stream (described at `/asyncapi.json`), or by
`getOrder`. Amounts and prices are decimal strings, times are UTC. A refusal is a problem of RFC 9457
with a stable `code`; other codes and fields may be added.

Any call may also be refused in plain text before it is parsed: with 400 (not HTTP), 431 (a head above
16 KiB or 100 headers), or 503 (too many connections).
"""

TAGS = (
    {"name": "orders", "description": "Placed, shown, cancelled."},
    {"name": "streams", "description": "What browsers need to open one."},
    {"name": "keys", "description": "Who may call; asks for the scope `admin`."},
    {"name": "health", "description": "For load balancers."},
)

SECURITY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "oe_<id>_<secret>",
        "description": "An API key. An engine in open mode, for local use, asks for none.",
    }
}

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "RateLimit": {
        "description": "What is left of each limit: `r` requests, and more in `t` seconds. The"
        " address has one limit, the key another.",
        "schema": {"type": "string", "examples": ['"address";r=59999;t=60, "key";r=59999;t=60']},
    },
    "RateLimit-Policy": {
        "description": "The limits: `q` requests in `w` seconds.",
        "schema": {"type": "string", "examples": ['"address";q=60000;w=60, "key";q=60000;w=60']},
    },
    "Retry-After": {
        "description": "Seconds to wait before the same request is worth sending again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "Asks for an API key.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "The answer is about an order that was placed before.",
        "required": True,
        "schema": {"type": "string", "const": "true"},
    },
    "Accept-Encoding": {
        "description": "How a body may be encoded, where it came encoded: not at all.",
        "schema": {"type": "string", "const": "identity"},
    },
    "Cache-Control": {
        "description": "A secret is for nobody's cache.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
}
ON_EVERY_ANSWER = ("RateLimit", "RateLimit-Policy")
BY_STATUS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
WITH_SECRETS: frozenset[type[BaseModel]] = frozenset((answers.NewKey, answers.StreamToken))

# what an acknowledgement leads to
LINKS = {
    name: {"operationId": name, "parameters": {"orderId": "$response.body#/orderId"}}
    for name in ("getOrder", "listOrderEvents", "cancelOrder")
}


async def openapi(request: Request) -> Response:
    is_open = request.app.state.keys_asked_for is None
    return Response(json.dumps(document(is_open=is_open)), media_type=JSON)


@cache
def document(*, is_open: bool) -> Mapping[str, Any]:
    """`is_open`: nobody needs a key; one that is shown does no harm."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(
            operation, is_open=is_open
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Order execution engine",
            "version": version("order-execution-engine"),
            "description": ABOUT.strip(),
            "license": {"name": "ISC", "identifier": "ISC"},
        },
        "tags": TAGS,
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _schemas() -> Mapping[str, Any]:
    models: dict[type[BaseModel], JsonSchemaMode] = {
        Problem: "serialization",
        answers.QuoteBody: "serialization",
    }
    for operation in OPERATIONS:
        models[operation.answer] = "serialization"
        if operation.body:
            models[operation.body] = "validation"
    _, found = models_json_schema(list(models.items()), ref_template=REF, schema_generator=Schemas)
    schemas: Mapping[str, Any] = found["$defs"]
    return schemas


def _described(operation: Operation, *, is_open: bool) -> Mapping[str, Any]:
    parameters = [*operation.parameters, *_of_query(operation.query)]
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _words(operation),
        "responses": _answered(operation) | _refused(operation),
        "security": _security(operation, is_open=is_open),
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "description": "At most 16 KiB of JSON in UTF-8, not compressed, within 10 seconds.",
            "required": True,
            "content": {JSON: _schema(operation.body)},
        }
    return described


def _words(operation: Operation) -> str:
    scope = f"Asks for the scope `{operation.scope}`." if operation.scope else ""
    return " ".join(filter(None, (operation.description, scope)))


def _security(operation: Operation, *, is_open: bool) -> Sequence[Mapping[str, Any]]:
    if not operation.scope:
        return []
    return [{"apiKey": []}, {}] if is_open else [{"apiKey": []}]


def _answered(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, words in operation.answered.items():
        response = {
            "description": words,
            "headers": _headers(_told_with(operation, status)),
            "content": {JSON: _schema(operation.answer)},
        }
        if operation.answer is answers.Accepted:
            response["links"] = LINKS
        responses[str(status)] = response
    return responses


def _told_with(operation: Operation, status: int) -> Sequence[str]:
    if operation.answer in WITH_SECRETS:
        return ("Cache-Control",)
    return (
        ("Idempotent-Replayed",) if operation.answer is answers.Accepted and status == 200 else ()
    )


def _refused(operation: Operation) -> dict[str, Any]:
    """All problems of the operation by their status; an example for each code."""
    by_status: dict[int, list[Answer]] = {UNEXPECTED.status: [UNEXPECTED]}
    for refusal in operation.every_refusal:
        answer = ANSWERS[refusal]
        by_status.setdefault(answer.status, []).append(answer)
    return {
        str(status): {
            "description": "; ".join(f"`{each.code}`: {each.title}" for each in of_status),
            "headers": _headers(BY_STATUS.get(status, ())),
            "content": {
                PROBLEM_JSON: {
                    **_schema(Problem),
                    "examples": {each.code: {"value": _example(each)} for each in of_status},
                }
            },
        }
        for status, of_status in sorted(by_status.items())
    }


def _example(answer: Answer) -> Mapping[str, Any]:
    problem = Problem(
        title=answer.title, status=answer.status, detail=answer.title, code=answer.code
    )
    return problem.model_dump()


def _headers(names: Sequence[str]) -> Mapping[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, *ON_EVERY_ANSWER)}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": REF.format(model=model.__name__)}}


def _of_query(model: type[BaseModel] | None) -> Sequence[Mapping[str, Any]]:
    """A parameter for each field. What is None in the model is left out of the query."""
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF, schema_generator=Schemas)
    return [_of_field(name, property) for name, property in schema["properties"].items()]


def _of_field(name: str, property: Mapping[str, Any]) -> Mapping[str, Any]:
    described = dict(property)
    parameter = {"name": name, "in": "query", "description": described.pop("description")}
    if "anyOf" in described:
        [given] = [kind for kind in described.pop("anyOf") if kind != {"type": "null"}]
        del described["default"]
        described |= {key: value for key, value in given.items() if key != "description"}
    if name in REPEATABLE:
        parameter |= {"style": "form", "explode": True}
    return {**parameter, "schema": described}
