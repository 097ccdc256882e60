"""Problems of RFC 9457: one table gives each error its status, code and title."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from order_engine.execution.domain.errors import (
    ExecutionError,
    OrderNotFound,
    Overloaded,
    StoreUnavailable,
)

log = structlog.get_logger()

RETRY_AFTER_S = 1
CLIENT_DISCONNECTED = 499  # as nginx counts it


class FieldError(BaseModel):
    """One invalid field.

    `pointer` is a JSON pointer into the body, or the name of a header or query parameter.
    """

    model_config = ConfigDict(frozen=True)

    pointer: Annotated[str, Field(examples=["/amountIn", "Idempotency-Key", "limit"])]
    detail: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(description="Stable: programs compare it, not the texts.")]
    success: Literal[False] = False
    errors: Annotated[
        Sequence[FieldError] | SkipJsonSchema[None],
        Field(
            description="The invalid fields; absent when the problem is not about fields.",
            exclude_if=lambda errors: errors is None,
            json_schema_extra=lambda schema: schema.pop("default"),
        ),
    ] = None


class RequestError(ExecutionError):
    """The client must change the request."""

    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = MappingProxyType({})


class InvalidBody(RequestError):
    """The body is not JSON."""


class InvalidFields(RequestError):
    """The request has invalid fields."""

    message: ClassVar[str]

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(self.message)
        self.errors = errors


class InvalidOrder(InvalidFields):
    message = "the order has invalid fields"


class InvalidKey(InvalidFields):
    message = "the API key to create has invalid fields"


class InvalidQuery(InvalidFields):
    message = "the query has invalid parameters"


class Unauthorized(RequestError):
    """The request has no API key, or an unknown or revoked one."""

    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="order engine"'})


class Forbidden(RequestError):
    """The API key lacks the scope, or open mode refuses the Host."""


class ForeignPage(RequestError):
    """A browser sent the request for a page of an origin that is not allowed."""


class KeyNotFound(RequestError):
    """No API key has this id."""


class TooManyRequests(RequestError):
    """The key or the address has used up its requests of this minute."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after_s)}


class WrongContentType(RequestError):
    """The Content-Type is not application/json."""


class EncodedBody(RequestError):
    """The body has a Content-Encoding."""

    headers = MappingProxyType({"Accept-Encoding": "identity"})


class BodyTooLarge(RequestError):
    """The body is larger than the limit."""


class SlowBody(RequestError):
    """The body did not arrive in time."""


class KeyReused(RequestError):
    """The idempotency key belongs to an order with another body."""


class NotCancellable(RequestError):
    """The order is submitted or final."""


class BacklogFull(RequestError):
    """Too many orders wait for a worker."""


class ProblemType(NamedTuple):
    status: int
    code: str
    title: str


PROBLEMS: Mapping[type[ExecutionError], ProblemType] = {
    InvalidBody: ProblemType(400, "invalid_json", "The body is not JSON"),
    Unauthorized: ProblemType(401, "unauthorized", "An API key is required"),
    Forbidden: ProblemType(403, "forbidden", "Access denied"),
    ForeignPage: ProblemType(403, "foreign_page", "Origin not allowed"),
    KeyNotFound: ProblemType(404, "key_not_found", "API key not found"),
    OrderNotFound: ProblemType(404, "order_not_found", "Order not found"),
    SlowBody: ProblemType(408, "slow_body", "The body arrived too slowly"),
    NotCancellable: ProblemType(409, "not_cancellable", "The order can no longer be cancelled"),
    BodyTooLarge: ProblemType(413, "body_too_large", "The body is too large"),
    WrongContentType: ProblemType(415, "wrong_content_type", "The body must be application/json"),
    EncodedBody: ProblemType(415, "encoded_body", "The body must not be encoded"),
    InvalidOrder: ProblemType(422, "invalid_order", "Invalid order"),
    InvalidKey: ProblemType(422, "invalid_key", "Invalid API key request"),
    InvalidQuery: ProblemType(422, "invalid_query", "Invalid query"),
    TooManyRequests: ProblemType(429, "too_many_requests", "Too many requests"),
    KeyReused: ProblemType(422, "idempotency_key_reused", "The idempotency key was used before"),
    BacklogFull: ProblemType(503, "backlog_full", "Too many orders are waiting"),
    Overloaded: ProblemType(503, "overloaded", "The engine is overloaded"),
    StoreUnavailable: ProblemType(503, "store_unavailable", "The engine cannot reach its database"),
}
UNEXPECTED = ProblemType(500, "internal_error", "Internal error")


def answer_error(error: Exception) -> Response:
    """The answer to any error of a request that has not been answered yet."""
    match error:
        case ExecutionError():
            return _answer_execution_error(error)
        case HTTPException():  # Starlette's own: an unknown path, or a method that a path lacks
            code = {404: "not_found", 405: "method_not_allowed"}.get(
                error.status_code, "http_error"
            )
            kind = ProblemType(error.status_code, code, error.detail)
            return problem(kind, detail=error.detail, headers=error.headers)
        case ClientDisconnect():  # only the metrics see the status
            return Response(status_code=CLIENT_DISCONNECTED)
        case _:
            log.error("request failed unexpectedly", exc_info=error)
            return problem(UNEXPECTED, detail=UNEXPECTED.title)


def _answer_execution_error(error: ExecutionError) -> Response:
    kind = PROBLEMS.get(type(error), UNEXPECTED)
    errors = error.errors if isinstance(error, RequestError) else ()
    # details of internal errors go to the log only
    detail = str(error) if kind.status < 500 else kind.title
    if kind.status >= 500:
        log.warning("request failed", code=kind.code, error=str(error))
    headers = error.headers if isinstance(error, RequestError) else {}
    return problem(kind, detail=detail, errors=errors, headers=headers)


def problem(
    kind: ProblemType,
    *,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = Problem(
        title=kind.title,
        status=kind.status,
        detail=detail or kind.title,
        code=kind.code,
        errors=errors or None,
    )
    all_headers = dict(headers or {})
    if kind.status == 503:
        all_headers["Retry-After"] = str(RETRY_AFTER_S)
    return Response(
        body.model_dump_json(),
        kind.status,
        headers=all_headers,
        media_type="application/problem+json",
    )
