"""Maps refused HTTP requests (RFC 9457) to errors."""

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
    """The error for a response that is not a success, from the engine or from a proxy."""
    problem = problem_in(response)
    message = problem.detail or problem.title or response.reason_phrase
    status = response.status_code
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        return TooManyRequests(message, retry_after_s=retry_after_s(response))
    if response.is_server_error:
        return EngineUnavailable(
            message, status=status, code=problem.code, retry_after_s=retry_after_s(response)
        )
    # a 404 without a code is a proxy's and says nothing about the order
    if status == httpx2.codes.NOT_FOUND and problem.code is not None:
        return OrderNotFound(message)
    return RequestRefused(message, status=status, code=problem.code, errors=problem.errors)


def problem_in(response: httpx2.Response) -> Problem:
    """The problem in the response; an empty one when it has none, such as the page of a proxy."""
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return Problem()
    try:
        return parsed(PROBLEM, response.content)
    except UnexpectedAnswer:
        return Problem()  # the status is enough: a malformed body must not hide it


def retry_after_s(response: httpx2.Response) -> float | None:
    advice: str = response.headers.get("Retry-After", "")
    # the engine never sends the other form, a date
    return float(advice) if advice.isascii() and advice.isdigit() else None
