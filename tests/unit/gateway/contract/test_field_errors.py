"""The message for each kind of invalid field."""

from collections.abc import Callable, Mapping

import pytest
from starlette.datastructures import QueryParams

from order_engine.gateway.contract.field_errors import MESSAGES
from order_engine.gateway.contract.forms import KeyForm, OrderForm, read_form
from order_engine.gateway.contract.problems import InvalidFields
from order_engine.gateway.contract.queries import ListQuery, read_query


def an_order(name: str, text: str) -> None:
    fields = {"tokenIn": '"SOL"', "tokenOut": '"USDC"', "amountIn": '"1"', "slippageTolerance": "1"}
    as_json = ", ".join(f'"{each}": {value}' for each, value in (fields | {name: text}).items())
    read_form(OrderForm, f"{{{as_json}}}".encode())


def a_key(name: str, text: str) -> None:
    read_form(KeyForm, f'{{"accountId": "acme", "{name}": {text}}}'.encode())


def a_query(query: str) -> None:
    read_query(ListQuery, QueryParams(query))


Case = tuple[Callable[[], None], str]

CASES: Mapping[str, Case] = {
    "missing": (lambda: a_key("label", '"x"'), "is required"),
    "extra_forbidden": (lambda: an_order("limitPrice", '"1"'), "unknown field"),
    "string_type": (lambda: an_order("amountIn", "100"), "must be a string"),
    "string_unicode": (
        lambda: a_key("label", r'"\ud800"'),
        "contains an unpaired surrogate",
    ),
    "string_too_long": (
        lambda: a_key("label", f'"{"x" * 65}"'),
        "must have at most 64 characters",
    ),
    "Decimal": (lambda: an_order("slippageTolerance", '"0.5"'), "must be a number"),
    "decimal_max_places": (
        lambda: an_order("slippageTolerance", "1e-19"),
        "must have at most 18 decimals",
    ),
    "decimal_max_digits": (
        lambda: an_order("slippageTolerance", "1.1234567890123456789012"),
        "must have at most 21 digits",
    ),
    "finite_number": (
        lambda: an_order("slippageTolerance", f"1e{'9' * 20}"),
        "has too many digits",
    ),
    "greater_than_equal": (
        lambda: an_order("slippageTolerance", "-0.1"),
        "must be at least 0",
    ),
    "less_than_equal": (lambda: a_query("limit=201"), "must be at most 200"),
    "int_parsing_size": (
        lambda: a_query(f"limit={'9' * 5000}"),
        "has too many digits",
    ),
    "Sequence": (lambda: a_key("scopes", "7"), "must be an array"),
    "sequence_str": (lambda: a_key("scopes", '"read"'), "must be an array"),
    "too_short": (lambda: a_key("scopes", "[]"), "must not be empty"),
    "too_long": (
        lambda: a_key("scopes", '["read", "read", "read", "read"]'),
        "must have at most 3 items",
    ),
    "enum": (lambda: a_key("scopes", '["all"]'), "must be 'trade', 'read' or 'admin'"),
    "value_error": (lambda: an_order("amountIn", '"0"'), "must be above zero"),
}


def test_every_message_has_a_case() -> None:
    assert set(CASES) == set(MESSAGES)


@pytest.mark.parametrize("case", CASES)
def test_an_invalid_field_has_the_message_of_the_api(case: str) -> None:
    send, message = CASES[case]
    with pytest.raises(InvalidFields) as refused:
        send()

    assert message in {error.detail for error in refused.value.errors}


@pytest.mark.parametrize(
    "time", ["2026-02-30T12:00:00Z", "0000-01-31T12:00:00Z", "2026-01-31T12:00:00+99:00"]
)
def test_a_time_that_does_not_exist_has_the_message_of_a_malformed_one(time: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        read_query(ListQuery, QueryParams({"after": time}))

    assert [error.detail for error in refused.value.errors] == [
        "must be an RFC 3339 time such as 2026-01-31T12:00:00Z"
    ]
