"""The rules of the string fields: tokens and labels, in forms and in filters."""

import json
import unicodedata

import pytest
from starlette.datastructures import QueryParams

from order_engine.gateway.contract.forms import KeyForm, OrderForm, read_form
from order_engine.gateway.contract.problems import InvalidKey, InvalidOrder, InvalidQuery
from order_engine.gateway.contract.queries import ListQuery, read_query

TOKENS = [
    "S",
    "SOL",
    "usdc",
    "1INCH",
    "$WIF",
    "$",
    "BTC.b",
    "a_b-c.d$",
    "x" * 64,
    "So11111111111111111111111111111111111111112",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
]
NOT_TOKENS = {
    "empty": "",
    "one space": " ",
    "leading space": " SOL",
    "trailing space": "SOL ",
    "inner space": "S L",
    "no-break space": "\u00a0SOL",
    "newline at the end": "SOL\n",
    "zero byte": "S\x00L",
    "escape": "S\x1bL",
    "leading dot": ".SOL",
    "leading dash": "-SOL",
    "leading underscore": "_SOL",
    "slash": "SOL/USDC",
    "quote": "SOL'",
    "65 characters": "x" * 65,
    "NFC": unicodedata.normalize("NFC", "\u00e9t\u00e9"),
    "NFD": unicodedata.normalize("NFD", "\u00e9t\u00e9"),
    "Cyrillic homoglyph": "\u0421OL",
    "full-width": "\uff33OL",
    "CJK": "\u6c34",
    "emoji": "\U0001f680",
    "zero-width space": "SOL\u200b",
    "right-to-left override": "\u202eSOL",
    "byte order mark": "\ufeffSOL",
    "variation selector": "SOL\ufe0f",
    "Arabic digit": "SOL\u0661",
    "unpaired surrogate": "S\ud800L",
}

every_token = pytest.mark.parametrize("token", TOKENS)
every_other_text = pytest.mark.parametrize("text", NOT_TOKENS.values(), ids=NOT_TOKENS.keys())
both_fields = pytest.mark.parametrize("name", ["tokenIn", "tokenOut"])


def an_order(name: str, value: object) -> bytes:
    fields = {"tokenIn": "AAA", "tokenOut": "BBB", "amountIn": "1", "slippageTolerance": 1}
    return json.dumps(fields | {name: value}).encode()


@both_fields
@every_token
def test_an_order_accepts_a_token(name: str, token: str) -> None:
    form = read_form(OrderForm, an_order(name, token))

    assert token in (form.token_in, form.token_out)


@both_fields
@every_other_text
def test_an_order_refuses_what_is_not_a_token(name: str, text: str) -> None:
    with pytest.raises(InvalidOrder) as refused:
        read_form(OrderForm, an_order(name, text))

    assert [error.pointer for error in refused.value.errors] == [f"/{name}"]


@both_fields
@pytest.mark.parametrize("value", [None, 1, True, ["SOL"], {}], ids=str)
def test_an_order_refuses_a_token_that_is_not_a_string(name: str, value: object) -> None:
    with pytest.raises(InvalidOrder) as refused:
        read_form(OrderForm, an_order(name, value))

    assert [error.detail for error in refused.value.errors] == ["must be a string"]


@both_fields
@every_token
def test_a_filter_accepts_a_token(name: str, token: str) -> None:
    query = read_query(ListQuery, QueryParams({name: token}))

    assert token in (query.token_in, query.token_out)


@both_fields
@every_other_text
def test_a_filter_refuses_what_is_not_a_token(name: str, text: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        read_query(ListQuery, QueryParams([(name, text)]))

    assert [error.pointer for error in refused.value.errors] == [name]


def a_key(label: str) -> bytes:
    return json.dumps({"accountId": "acme", "scopes": ["read"], "label": label}).encode()


@pytest.mark.parametrize("label", ["", " ", "trading desk", "desk #1 (EU) ~", "x" * 64])
def test_a_label_is_printable_ascii(label: str) -> None:
    assert read_form(KeyForm, a_key(label)).label == label


@pytest.mark.parametrize(
    "label", ["x" * 65, "a\x00b", "a\nb", "a\n", "\x7f", "\u00e9", "a\u200bb", "\ud800"]
)
def test_any_other_label_is_refused(label: str) -> None:
    with pytest.raises(InvalidKey) as refused:
        read_form(KeyForm, a_key(label))

    assert [error.pointer for error in refused.value.errors] == ["/label"]
