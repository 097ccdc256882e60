"""Bodies of orders over HTTP: which are accepted, and the problems of the others."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from support.gateway_client import a_body, is_problem, post_raw, run


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_the_content_type_may_have_parameters_and_any_case(gateway: str, content_type: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body()).encode(), content_type)

        assert answer.status_code == 201

    run(gateway, talk)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"],
)
def test_another_content_type_is_refused(gateway: str, content_type: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body()).encode(), content_type)

        assert is_problem(answer, 415, "wrong_content_type")

    run(gateway, talk)


@pytest.mark.parametrize("path", ["/api/orders/execute", "/api/keys"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "unheard-of"])
def test_an_encoded_body_is_refused(gateway: str, path: str, encoding: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        answer = await http.post(path, content=gzip.compress(b"{}"), headers=headers)

        assert is_problem(answer, 415, "encoded_body")
        assert answer.headers["accept-encoding"] == "identity"

    run(gateway, talk)


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_the_identity_encoding_is_accepted(gateway: str, encoding: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        headers = {"Content-Encoding": encoding}
        answer = await http.post("/api/orders/execute", json=a_body(), headers=headers)

        assert answer.status_code == 201

    run(gateway, talk)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"tokenIn=SOL",
        b'{"tokenIn":',
        json.dumps(a_body()).encode() + b"]",
        json.dumps(a_body()).encode("utf-16"),
        b'{"tokenIn": "\xff\xfe"}',
        b'{"slippageTolerance": NaN}',
        b"[" * 10_000,
        b"[" * 8_000 + b"]" * 8_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 1_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_body_that_is_not_json_is_refused(gateway: str, content: bytes) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        assert is_problem(await post_raw(http, content), 400, "invalid_json")

    run(gateway, talk)


def test_a_body_above_16_kib_is_refused(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        largest = json.dumps(a_body()).encode().ljust(16_384)

        assert (await post_raw(http, largest)).status_code == 201
        assert is_problem(await post_raw(http, largest + b" "), 413, "body_too_large")
        assert is_problem(await post_raw(http, largest * 20), 413, "body_too_large")

    run(gateway, talk)


def test_a_body_without_a_content_length_is_bounded_too(gateway: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 1024

    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await http.post(
            "/api/orders/execute", content=chunks(), headers={"Content-Type": "application/json"}
        )

        assert is_problem(answer, 413, "body_too_large")

    run(gateway, talk)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"tokenIn": ""}, ["/tokenIn"]),
        ({"tokenOut": "SOL"}, ["/tokenOut"]),
        ({"tokenIn": "a\x00b"}, ["/tokenIn"]),
        ({"tokenIn": "\ud800"}, ["/tokenIn"]),
        ({"amountIn": 100}, ["/amountIn"]),
        ({"amountIn": "1e3"}, ["/amountIn"]),
        ({"amountIn": "007.10"}, ["/amountIn"]),
        ({"amountIn": "0"}, ["/amountIn"]),
        ({"minAmountOut": "-1"}, ["/minAmountOut"]),
        ({"slippageTolerance": "0.5"}, ["/slippageTolerance"]),
        ({"slippageTolerance": 100.5}, ["/slippageTolerance"]),
        ({"limitPrice": "1"}, ["/limitPrice"]),
        ({"clientOrderId": "a b"}, ["/clientOrderId"]),
        ({"amountIn": "", "slippageTolerance": -0.5}, ["/amountIn", "/slippageTolerance"]),
    ],
    ids=str,
)
def test_the_problem_of_an_invalid_order_points_at_its_fields(
    gateway: str, changes: dict[str, Any], pointers: list[str]
) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body(**changes)).encode())

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        assert all(error["detail"] for error in answer.json()["errors"])

    run(gateway, talk)


def test_a_field_name_with_an_unpaired_surrogate_is_refused(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, json.dumps(a_body(**{"\ud800": "x"})).encode())

        assert is_problem(answer, 422, "invalid_order")

    run(gateway, talk)


def test_missing_fields_are_pointed_at(gateway: str) -> None:
    async def talk(http: httpx2.AsyncClient) -> None:
        answer = await post_raw(http, b"{}")

        assert is_problem(answer, 422, "invalid_order")
        assert [error["pointer"] for error in answer.json()["errors"]] == [
            "/tokenIn",
            "/tokenOut",
            "/amountIn",
            "/slippageTolerance",
        ]

    run(gateway, talk)
