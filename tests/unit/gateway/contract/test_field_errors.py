"""What a client is told of each fault."""

from collections.abc import Callable, Mapping

import pytest
from starlette.datastructures import QueryParams

from order_engine.gateway.contract.field_errors import WORDS
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


Fault = tuple[Callable[[], None], str]

FAULTS: Mapping[str, Fault] = {
    "missing": (lambda: a_key("label", '"x"'), "is needed"),
    "extra_forbidden": (lambda: an_order("limitPrice", '"1"'), "is not known here"),
    "string_type": (lambda: an_order("amountIn", "100"), "must be a string"),
    "string_unicode": (
        lambda: an_order("tokenIn", r'"\ud800"'),
        "must be whole characters: half of a pair is none",
    ),
    "string_too_short": (lambda: an_order("tokenIn", '""'), "must not be empty"),
    "string_too_long": (
        lambda: an_order("tokenIn", f'"{"x" * 65}"'),
        "must have 64 characters at most",
    ),
    "Decimal": (lambda: an_order("slippageTolerance", '"0.5"'), "must be a number"),
    "decimal_max_places": (
        lambda: an_order("slippageTolerance", "1e-19"),
        "must have 18 decimals at most",
    ),
    "decimal_max_digits": (
        lambda: an_order("slippageTolerance", "1.1234567890123456789012"),
        "must have 21 digits at most",
    ),
    "finite_number": (
        lambda: an_order("slippageTolerance", f"1e{'9' * 20}"),
        "must be a number of fewer digits",
    ),
    "greater_than_equal": (
        lambda: an_order("slippageTolerance", "-0.1"),
        "must be 0 or more",
    ),
    "less_than_equal": (lambda: a_query("limit=201"), "must be 200 or less"),
    "int_parsing_size": (
        lambda: a_query(f"limit={'9' * 5000}"),
        "must be a number of fewer digits",
    ),
    "Sequence": (lambda: a_key("scopes", "7"), "must be an array"),
    "sequence_str": (lambda: a_key("scopes", '"read"'), "must be an array"),
    "too_short": (lambda: a_key("scopes", "[]"), "must not be empty"),
    "too_long": (
        lambda: a_key("scopes", '["read", "read", "read", "read"]'),
        "must have 3 items at most",
    ),
    "enum": (lambda: a_key("scopes", '["all"]'), "must be 'trade', 'read' or 'admin'"),
    "value_error": (lambda: an_order("amountIn", '"0"'), "must be above zero"),
}


def test_every_fault_that_has_words_is_met_here() -> None:
    assert set(FAULTS) == set(WORDS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_words_of_the_api(fault: str) -> None:
    ask, words = FAULTS[fault]
    with pytest.raises(InvalidFields) as refused:
        ask()

    assert words in {error.detail for error in refused.value.errors}


@pytest.mark.parametrize(
    "moment", ["2026-02-30T12:00:00Z", "0000-01-31T12:00:00Z", "2026-01-31T12:00:00+99:00"]
)
def test_a_time_that_there_is_not_is_told_as_what_is_no_time(moment: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        read_query(ListQuery, QueryParams({"after": moment}))

    assert [error.detail for error in refused.value.errors] == [
        "must be a time such as 2026-01-31T12:00:00Z"
    ]
