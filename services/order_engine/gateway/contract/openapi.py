"""The HTTP API as an OpenAPI 3.1 document, made from the models that check and answer requests."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from order_engine.gateway.contract import answers
from order_engine.gateway.contract.operations import OPERATIONS, Operation
from order_engine.gateway.contract.problems import PROBLEMS, UNEXPECTED, Problem, ProblemType
from order_engine.gateway.contract.queries import REPEATABLE
from order_engine.gateway.contract.schemas import REF, Schemas

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

ABOUT = """
Accepts swap orders, routes each to the venue with the best effective price, and executes it exactly once.

Place an order with `placeOrder`, then follow it with a stream (see `/asyncapi.json`) or with `getOrder`.
Amounts and prices are decimal strings, times are UTC. Errors are problems of RFC 9457 with a stable
`code`; codes and fields may be added.

The server may refuse any request before it reaches an operation: with 400 `invalid_request`, 431
`head_too_large` (above 16 KiB), or 503 `too_many_connections`.
"""

TAGS = (
    {"name": "orders", "description": "Place, read and cancel orders."},
    {"name": "streams", "description": "Tokens for streams."},
    {"name": "keys", "description": "API keys; requires the scope `admin`."},
    {"name": "health", "description": "For load balancers."},
)

SECURITY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "oe_<id>_<secret>",
        "description": "An API key. In open mode, for local use, none is required.",
    }
}

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "RateLimit": {
        "description": "What is left of each limit: `r` requests for the next `t` seconds. Addresses"
        " and keys have separate limits.",
        "schema": {"type": "string", "examples": ['"address";r=59999;t=60, "key";r=59999;t=60']},
    },
    "RateLimit-Policy": {
        "description": "The limits: `q` requests in `w` seconds.",
        "schema": {"type": "string", "examples": ['"address";q=60000;w=60, "key";q=60000;w=60']},
    },
    "Retry-After": {
        "description": "Seconds to wait before sending the request again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "Requests an API key.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "An earlier request placed the order.",
        "required": True,
        "schema": {"type": "string", "const": "true"},
    },
    "Accept-Encoding": {
        "description": "The accepted encoding of bodies, when the body had another one.",
        "schema": {"type": "string", "const": "identity"},
    },
    "Cache-Control": {
        "description": "The response has a secret that must not be cached.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
}
ON_EVERY_RESPONSE = ("RateLimit", "RateLimit-Policy")
BY_STATUS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
WITH_SECRETS: frozenset[type[BaseModel]] = frozenset((answers.NewKey, answers.StreamToken))

# from the response to placeOrder
LINKS = {
    name: {"operationId": name, "parameters": {"orderId": "$response.body#/orderId"}}
    for name in ("getOrder", "listOrderEvents", "cancelOrder")
}


@cache
def document(*, is_open: bool) -> Mapping[str, Any]:
    """`is_open`: API keys are optional."""
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
        "description": _description(operation),
        "responses": _successes(operation) | _problems(operation),
        "security": _security(operation, is_open=is_open),
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "description": "JSON in UTF-8, not compressed, at most 16 KiB unless the"
            " operator has changed BODY_BYTES_MAX, sent within 10 seconds.",
            "required": True,
            "content": {JSON: _schema(operation.body)},
        }
    return described


def _description(operation: Operation) -> str:
    scope = f"Requires the scope `{operation.scope}`." if operation.scope else ""
    return " ".join(filter(None, (operation.description, scope)))


def _security(operation: Operation, *, is_open: bool) -> Sequence[Mapping[str, Any]]:
    if not operation.scope:
        return []
    return [{"apiKey": []}, {}] if is_open else [{"apiKey": []}]


def _successes(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, description in operation.responses.items():
        response = {
            "description": description,
            "headers": _headers(_extra_headers(operation, status)),
            "content": {JSON: _schema(operation.answer)},
        }
        if operation.answer is answers.Accepted:
            response["links"] = LINKS
        responses[str(status)] = response
    return responses


def _extra_headers(operation: Operation, status: int) -> Sequence[str]:
    if operation.answer in WITH_SECRETS:
        return ("Cache-Control",)
    return (
        ("Idempotent-Replayed",) if operation.answer is answers.Accepted and status == 200 else ()
    )


def _problems(operation: Operation) -> dict[str, Any]:
    """The problems of the operation by status, with an example for each code."""
    by_status: dict[int, list[ProblemType]] = {UNEXPECTED.status: [UNEXPECTED]}
    for error in operation.all_problems:
        kind = PROBLEMS[error]
        by_status.setdefault(kind.status, []).append(kind)
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


def _example(kind: ProblemType) -> Mapping[str, Any]:
    problem = Problem(title=kind.title, status=kind.status, detail=kind.title, code=kind.code)
    return problem.model_dump()


def _headers(names: Sequence[str]) -> Mapping[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, *ON_EVERY_RESPONSE)}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": REF.format(model=model.__name__)}}


def _of_query(model: type[BaseModel] | None) -> Sequence[Mapping[str, Any]]:
    """One parameter for each field. None in the model means that the parameter is absent."""
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
