import json
from typing import Any

import httpx2
import pytest

from order_engine.client.errors import (
    EngineUnavailable,
    FieldError,
    OrderNotFound,
    RequestRefused,
    TooManyRequests,
)
from order_engine.client.problems import refusal


def a_problem(
    status: int, *, headers: dict[str, str] | None = None, **members: Any
) -> httpx2.Response:
    problem = {"type": "about:blank", "title": "Refused", "status": status, "success": False}
    return httpx2.Response(
        status,
        headers={"Content-Type": "application/problem+json; charset=utf-8"} | (headers or {}),
        content=json.dumps(problem | members),
    )


def a_proxy_page(status: int) -> httpx2.Response:
    return httpx2.Response(status, headers={"Content-Type": "text/html"}, content="<html>")


def test_a_refusal_lists_each_invalid_field() -> None:
    error = refusal(
        a_problem(
            422,
            code="invalid_order",
            detail="2 fields are invalid",
            errors=[
                {"pointer": "#/amountIn", "detail": "must be above zero"},
                {"pointer": "#/tokenIn", "detail": "is required"},
            ],
        )
    )

    assert isinstance(error, RequestRefused)
    assert (error.status, error.code, error.message) == (
        422,
        "invalid_order",
        "2 fields are invalid",
    )
    assert error.errors == (
        FieldError(pointer="#/amountIn", detail="must be above zero"),
        FieldError(pointer="#/tokenIn", detail="is required"),
    )


def test_the_text_of_a_refusal_has_its_status_code_and_detail() -> None:
    error = refusal(a_problem(409, code="not_cancellable", detail="the order is submitted"))

    assert str(error) == "409 not_cancellable: the order is submitted"


def test_a_refusal_without_a_detail_has_the_title_as_message() -> None:
    error = refusal(a_problem(415, code="unsupported_media_type", title="Unsupported Media Type"))

    assert isinstance(error, RequestRefused)
    assert error.message == "Unsupported Media Type"


def test_an_unknown_order_is_not_found() -> None:
    assert isinstance(refusal(a_problem(404, code="order_not_found")), OrderNotFound)


def test_a_404_from_a_proxy_is_not_an_unknown_order() -> None:
    error = refusal(a_proxy_page(404))

    assert isinstance(error, RequestRefused)
    assert (error.status, error.code, error.message) == (404, None, "Not Found")


def test_the_retry_after_header_is_read() -> None:
    error = refusal(a_problem(429, code="rate_limited", headers={"Retry-After": "7"}))

    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize("retry_after", ["", "soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_that_is_not_a_number_of_seconds_is_none(retry_after: str) -> None:
    error = refusal(a_problem(429, headers={"Retry-After": retry_after}))

    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s is None


def test_a_full_backlog_is_unavailable_with_a_retry_after() -> None:
    error = refusal(a_problem(503, code="backlog_full", headers={"Retry-After": "2"}))

    assert isinstance(error, EngineUnavailable)
    assert (error.status, error.code, error.retry_after_s) == (503, "backlog_full", 2.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_of_a_proxy_is_unavailable(status: int) -> None:
    error = refusal(a_proxy_page(status))

    assert isinstance(error, EngineUnavailable)
    assert (error.status, error.code) == (status, None)


def test_a_malformed_problem_is_classified_by_its_status() -> None:
    broken = httpx2.Response(
        422, headers={"Content-Type": "application/problem+json"}, content="{oops"
    )

    error = refusal(broken)
    assert isinstance(error, RequestRefused)
    assert error.status == 422
