"""Errors as RFC 9457 problem+json, by a table of error type -> status and code."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution.domain.errors import (
    ExecutionError,
    OrderNotFound,
    Overloaded,
    StoreUnavailable,
)

log = structlog.get_logger()

RETRY_AFTER_S = 1
CLIENT_LEFT = 499


class FieldError(BaseModel):
    """What is wrong where.

    `pointer` is a JSON pointer into the body, or the name of a header or of a query's parameter.
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
    code: Annotated[str, Field(description="Stable: decide by it, and not by the words.")]
    success: Literal[False] = False
    errors: Annotated[
        Sequence[FieldError] | SkipJsonSchema[None],
        Field(
            description="What is wrong where; absent where no place can be named.",
            exclude_if=lambda errors: errors is None,
            json_schema_extra=lambda schema: schema.pop("default"),
        ),
    ] = None


class RequestError(ExecutionError):
    """The client must change the request."""

    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = MappingProxyType({})


class InvalidBody(RequestError):
    """The body cannot be read at all."""


class InvalidFields(RequestError):
    """The request can be read, and asks for what cannot be."""

    said: ClassVar[str]

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(self.said)
        self.errors = errors


class InvalidOrder(InvalidFields):
    said = "the order is not valid"


class InvalidKey(InvalidFields):
    said = "the key asked for is not valid"


class InvalidQuery(InvalidFields):
    said = "the query is not valid"


class Unauthorized(RequestError):
    """No API key is shown, or none that opens anything."""

    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="order engine"'})


class Forbidden(RequestError):
    """The API key does not open this."""


class ForeignPage(RequestError):
    """A browser asks for a page of another origin, which the engine was not told to allow."""


class KeyNotFound(RequestError):
    """No API key has this id."""


class TooManyRequests(RequestError):
    """Beyond what this key or address may ask for in a minute; later there is room again."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after_s)}


class WrongContentType(RequestError):
    """The body is not announced as application/json."""


class EncodedBody(RequestError):
    """The body is compressed, or encoded otherwise."""

    headers = MappingProxyType({"Accept-Encoding": "identity"})


class BodyTooLarge(RequestError):
    """The body is larger than this engine takes."""


class SlowBody(RequestError):
    """The body did not arrive in time."""


class KeyReused(RequestError):
    """The idempotency key belongs to an order that was asked for in other words."""


class NotCancellable(RequestError):
    """The order has been submitted, or has ended otherwise."""


class BacklogFull(RequestError):
    """More orders wait than this engine takes; later there is room again."""


class Answer(NamedTuple):
    status: int
    code: str
    title: str


ANSWERS: Mapping[type[ExecutionError], Answer] = {
    InvalidBody: Answer(400, "invalid_json", "The body is not JSON"),
    Unauthorized: Answer(401, "unauthorized", "An API key is needed"),
    Forbidden: Answer(403, "forbidden", "The API key does not open this"),
    ForeignPage: Answer(403, "foreign_page", "Pages of this origin may not do this"),
    KeyNotFound: Answer(404, "key_not_found", "API key not found"),
    OrderNotFound: Answer(404, "order_not_found", "Order not found"),
    SlowBody: Answer(408, "slow_body", "The body came too slowly"),
    NotCancellable: Answer(409, "not_cancellable", "The order can no longer be cancelled"),
    BodyTooLarge: Answer(413, "body_too_large", "The body is too large"),
    WrongContentType: Answer(415, "wrong_content_type", "The body must be application/json"),
    EncodedBody: Answer(415, "encoded_body", "The body must not be encoded"),
    InvalidOrder: Answer(422, "invalid_order", "The order is not valid"),
    InvalidKey: Answer(422, "invalid_key", "The key asked for is not valid"),
    InvalidQuery: Answer(422, "invalid_query", "The query is not valid"),
    TooManyRequests: Answer(429, "too_many_requests", "Too many requests"),
    KeyReused: Answer(422, "idempotency_key_reused", "The idempotency key is taken"),
    BacklogFull: Answer(503, "backlog_full", "Too many orders are waiting"),
    Overloaded: Answer(503, "overloaded", "The engine is overloaded"),
    StoreUnavailable: Answer(503, "store_unavailable", "The engine cannot reach its database"),
}
UNEXPECTED = Answer(500, "internal_error", "The engine failed")


async def answer_execution_error(_: Request, error: Exception) -> Response:
    answer = ANSWERS.get(type(error), UNEXPECTED)  # type: ignore[arg-type]  # only ExecutionError comes
    errors = error.errors if isinstance(error, RequestError) else ()
    # what went wrong inside is for the log, not for the client
    detail = str(error) if answer.status < 500 else answer.title
    if answer.status >= 500:
        log.warning("request failed", code=answer.code, error=str(error))
    headers = error.headers if isinstance(error, RequestError) else {}
    return problem(answer, detail=detail, errors=errors, headers=headers)


async def answer_http_error(_: Request, error: Exception) -> Response:
    """Starlette's own: no such route, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
    headers = error.headers if isinstance(error, HTTPException) else None
    title = error.detail if isinstance(error, HTTPException) else UNEXPECTED.title
    return problem(Answer(status, code, title), detail=title, headers=headers)


async def answer_nobody(_: Request, __: Exception) -> Response:
    """The client left before its request was complete: for the metrics only, as nginx counts it."""
    return Response(status_code=CLIENT_LEFT)


async def answer_unexpected(_: Request, error: Exception) -> Response:
    log.error("request failed unexpectedly", exc_info=error)
    return problem(UNEXPECTED, detail=UNEXPECTED.title)


def problem(
    answer: Answer,
    *,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = Problem(
        title=answer.title,
        status=answer.status,
        detail=detail or answer.title,
        code=answer.code,
        errors=errors or None,
    )
    more = dict(headers or {})
    if answer.status == 503:
        more["Retry-After"] = str(RETRY_AFTER_S)
    return Response(
        body.model_dump_json(),
        answer.status,
        headers=more,
        media_type="application/problem+json",
    )
