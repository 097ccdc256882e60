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


def test_a_refusal_points_at_each_field() -> None:
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


def test_a_refusal_reads_as_a_sentence() -> None:
    error = refusal(a_problem(409, code="not_cancellable", detail="the order is submitted"))

    assert str(error) == "409 not_cancellable: the order is submitted"


def test_a_refusal_without_detail_has_its_title() -> None:
    error = refusal(a_problem(415, code="unsupported_media_type", title="Unsupported Media Type"))

    assert isinstance(error, RequestRefused)
    assert error.message == "Unsupported Media Type"


def test_an_unknown_order_is_not_found() -> None:
    assert isinstance(refusal(a_problem(404, code="order_not_found")), OrderNotFound)


def test_the_404_of_a_proxy_says_nothing_about_the_order() -> None:
    error = refusal(a_proxy_page(404))

    assert isinstance(error, RequestRefused)
    assert (error.status, error.code, error.message) == (404, None, "Not Found")


def test_the_retry_after_of_the_engine_is_passed_on() -> None:
    error = refusal(a_problem(429, code="rate_limited", headers={"Retry-After": "7"}))

    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize("advice", ["", "soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_advice_that_is_no_number_of_seconds_is_none(advice: str) -> None:
    error = refusal(a_problem(429, headers={"Retry-After": advice}))

    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s is None


def test_a_full_backlog_is_unavailable_for_a_while() -> None:
    error = refusal(a_problem(503, code="backlog_full", headers={"Retry-After": "2"}))

    assert isinstance(error, EngineUnavailable)
    assert (error.status, error.code, error.retry_after_s) == (503, "backlog_full", 2.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_without_an_engine_is_unavailable(status: int) -> None:
    error = refusal(a_proxy_page(status))

    assert isinstance(error, EngineUnavailable)
    assert (error.status, error.code) == (status, None)


def test_a_broken_problem_still_counts_by_its_status() -> None:
    broken = httpx2.Response(
        422, headers={"Content-Type": "application/problem+json"}, content="{oops"
    )

    error = refusal(broken)
    assert isinstance(error, RequestRefused)
    assert error.status == 422
