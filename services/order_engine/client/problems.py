"""From a refusing HTTP response to the error that says who must act (RFC 9457)."""

from dataclasses import dataclass

import httpx2
from pydantic import TypeAdapter

from order_engine.client.errors import (
    EngineError,
    EngineUnavailable,
    FieldError,
    OrderNotFound,
    RequestRefused,
    TooManyRequests,
    UnexpectedAnswer,
)
from order_engine.client.wire import parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    title: str = ""
    detail: str | None = None
    code: str | None = None
    errors: tuple[FieldError, ...] = ()


PROBLEM = TypeAdapter(Problem)


def refusal(response: httpx2.Response) -> EngineError:
    """The error for any response that is not a success, from the engine or a proxy before it."""
    problem = problem_in(response)
    message = problem.detail or problem.title or response.reason_phrase
    status = response.status_code
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        return TooManyRequests(message, retry_after_s=retry_after_s(response))
    if response.is_server_error:
        return EngineUnavailable(
            message, status=status, code=problem.code, retry_after_s=retry_after_s(response)
        )
    # a proxy's 404, without a code, is no word of the engine about the order
    if status == httpx2.codes.NOT_FOUND and problem.code is not None:
        return OrderNotFound(message)
    return RequestRefused(message, status=status, code=problem.code, errors=problem.errors)


def problem_in(response: httpx2.Response) -> Problem:
    """The problem that the response tells of; an empty one when it tells none, as a proxy's page."""
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return Problem()
    try:
        return parsed(PROBLEM, response.content)
    except UnexpectedAnswer:
        return Problem()  # the status alone decides: a bad body must not hide it


def retry_after_s(response: httpx2.Response) -> float | None:
    advice: str = response.headers.get("Retry-After", "")
    # the other form, a date, is never the engine's
    return float(advice) if advice.isascii() and advice.isdigit() else None
