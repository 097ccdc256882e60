"""Errors as RFC 9457 problem+json, by a table of error type -> status and code."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from execution.domain.errors import ExecutionError, OrderNotFound, Overloaded, StoreUnavailable

log = structlog.get_logger()

RETRY_AFTER_S = 1


class FieldError(NamedTuple):
    """What is wrong where; `pointer` is a JSON pointer into the body, or a header's name."""

    pointer: str
    detail: str


class RequestError(ExecutionError):
    """The client must change the request."""

    errors: Sequence[FieldError] = ()


class InvalidBody(RequestError):
    """The body cannot be read at all."""


class InvalidOrder(RequestError):
    """The body can be read, and asks for what cannot be."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("the order is not valid")
        self.errors = errors


class WrongContentType(RequestError):
    """The body is not announced as application/json."""


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
    OrderNotFound: Answer(404, "order_not_found", "Order not found"),
    SlowBody: Answer(408, "slow_body", "The body came too slowly"),
    NotCancellable: Answer(409, "not_cancellable", "The order can no longer be cancelled"),
    BodyTooLarge: Answer(413, "body_too_large", "The body is too large"),
    WrongContentType: Answer(415, "wrong_content_type", "The body must be application/json"),
    InvalidOrder: Answer(422, "invalid_order", "The order is not valid"),
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
    return problem(answer, detail=detail, errors=errors)


async def answer_http_error(_: Request, error: Exception) -> Response:
    """Starlette's own: no such route, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
    headers = error.headers if isinstance(error, HTTPException) else None
    title = error.detail if isinstance(error, HTTPException) else UNEXPECTED.title
    return problem(Answer(status, code, title), detail=title, headers=headers)


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
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": answer.title,
        "status": answer.status,
        "detail": detail or answer.title,
        "code": answer.code,
        "success": False,
    }
    if errors:
        body["errors"] = [error._asdict() for error in errors]
    more = dict(headers or {})
    if answer.status == 503:
        more["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(body, answer.status, headers=more, media_type="application/problem+json")
