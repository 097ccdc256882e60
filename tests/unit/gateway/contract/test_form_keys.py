"""The idempotency key of an order, and the hash of its request."""

import json

import pytest

from order_engine.execution.domain.order import LOCAL_ACCOUNT, NewOrder
from order_engine.gateway.contract.forms import OrderForm, read_form
from order_engine.gateway.contract.problems import InvalidOrder
from support.builders import ORDER_ID

# Each value is JSON text: 1 is a number, "1" a string.
VALID = {
    "tokenIn": '"SOL"',
    "tokenOut": '"USDC"',
    "amountIn": '"100.5"',
    "slippageTolerance": "0.5",
}


def a_body(**values: str) -> bytes:
    return as_json(VALID | values)


def as_json(fields: dict[str, str]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}").encode()


def order(form: OrderForm, *, key: str | None = None) -> NewOrder:
    return form.order(ORDER_ID, account_id=LOCAL_ACCOUNT, idempotency_key=key)


# The idempotency key


@pytest.mark.parametrize(
    ("client_order_id", "header", "key"),
    [
        ("null", None, None),
        ('"mine"', None, "mine"),
        ("null", "mine", "mine"),
        ('"mine"', "mine", "mine"),
        ("null", "k" * 128, "k" * 128),
    ],
)
def test_the_key_may_be_in_the_body_or_the_header_or_both(
    client_order_id: str, header: str | None, key: str | None
) -> None:
    form = read_form(OrderForm, a_body(clientOrderId=client_order_id))

    assert order(form, key=header).idempotency_key == key


def test_two_different_keys_are_refused() -> None:
    form = read_form(OrderForm, a_body(clientOrderId='"mine"'))

    with pytest.raises(InvalidOrder) as invalid:
        order(form, key="another")

    assert [error.pointer for error in invalid.value.errors] == ["/clientOrderId"]


@pytest.mark.parametrize("header", ["", " ", "a b", "été", "a\nb", "k" * 129])
def test_a_malformed_key_header_is_refused(header: str) -> None:
    with pytest.raises(InvalidOrder) as invalid:
        order(read_form(OrderForm, a_body()), key=header)

    assert [error.pointer for error in invalid.value.errors] == ["Idempotency-Key"]


# The hash of the request


def hashed(body: bytes, *, key: str | None = "mine") -> str | None:
    return order(read_form(OrderForm, body), key=key).request_hash


def test_an_order_without_a_key_has_no_hash() -> None:
    assert hashed(a_body(), key=None) is None


@pytest.mark.parametrize(
    "same",
    [
        as_json(dict(reversed(VALID.items()))),
        json.dumps(json.loads(a_body()), indent=4).encode(),
        a_body(minAmountOut="null"),
        a_body(clientOrderId='"mine"'),
        a_body(tokenIn='"\\u0053OL"'),
    ],
)
def test_the_same_request_in_another_format_has_the_same_hash(same: bytes) -> None:
    assert hashed(same) == hashed(a_body())


def test_the_key_is_not_part_of_the_hash() -> None:
    assert hashed(a_body(), key="mine") == hashed(a_body(), key="another")


@pytest.mark.parametrize(
    "other",
    [
        a_body(amountIn='"100.6"'),
        a_body(slippageTolerance="0.6"),
        a_body(minAmountOut='"0"'),
        a_body(tokenIn='"BTC"'),
        a_body(tokenOut='"USDT"'),
        a_body(tokenIn=VALID["tokenOut"], tokenOut=VALID["tokenIn"]),
    ],
)
def test_a_different_request_has_a_different_hash(other: bytes) -> None:
    assert hashed(other) != hashed(a_body())


def test_a_hash_is_the_hex_of_a_sha256() -> None:
    text = hashed(a_body())

    assert text is not None
    assert len(bytes.fromhex(text)) == 32


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("amountIn", '"100"', '"100.00"'),
        ("slippageTolerance", "0.5", "0.50"),
        ("minAmountOut", '"1.5"', '"1.500"'),
    ],
)
def test_the_same_number_in_another_notation_is_the_same_request(
    name: str, one: str, other: str
) -> None:
    first, second = (
        read_form(OrderForm, a_body(**{name: text})).order(
            ORDER_ID, account_id=LOCAL_ACCOUNT, idempotency_key="k"
        )
        for text in (one, other)
    )

    assert first.request_hash == second.request_hash
