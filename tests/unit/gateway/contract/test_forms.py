"""Order forms: which bodies are valid, and what is reported about the others."""

from decimal import Decimal

import pytest

from order_engine.execution.domain.order import LOCAL_ACCOUNT, NewOrder
from order_engine.gateway.contract.forms import OrderForm, read_form
from order_engine.gateway.contract.problems import InvalidBody, InvalidOrder, RequestError
from support.builders import ORDER_ID

# Every value as it stands in the JSON text: 1 is a number, "1" a string.
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


def without(name: str) -> bytes:
    return as_json({other: text for other, text in VALID.items() if other != name})


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def pointers(body: bytes) -> list[str]:
    with pytest.raises(InvalidOrder) as invalid:
        read_form(OrderForm, body)
    return [error.pointer for error in invalid.value.errors]


def order(form: OrderForm, *, key: str | None = None) -> NewOrder:
    return form.order(ORDER_ID, account_id=LOCAL_ACCOUNT, idempotency_key=key)


# Valid orders


def test_a_form_becomes_an_order() -> None:
    form = read_form(
        OrderForm, a_body(minAmountOut='"99.000000000000000001"', clientOrderId='"mine-1"')
    )

    assert order(form) == NewOrder(
        id=ORDER_ID,
        token_in="SOL",
        token_out="USDC",
        amount_in=Decimal("100.5"),
        slippage_tolerance=Decimal("0.5"),
        min_amount_out=Decimal("99.000000000000000001"),
        idempotency_key="mine-1",
        request_hash=order(form).request_hash,
    )


@pytest.mark.parametrize(
    "amount",
    [
        "1",
        "0.1",
        "100.00",
        "0.000000000000000001",
        "99999999999999999999",
        "99999999999999999999.999999999999999999",
    ],
)
def test_an_amount_keeps_every_digit(amount: str) -> None:
    form = read_form(OrderForm, a_body(amountIn=f'"{amount}"'))

    assert form.amount_in == amount
    assert str(order(form).amount_in) == str(Decimal(amount))


@pytest.mark.parametrize(
    "text",
    [
        "0.0",
        "0.5",
        "99.9",
        "100.0",
        "1e1",
        "0.000000000000000001",
        "0.30000000000000004",
        "0.100000000000000000",
        "99.9999999999999",
        "0",
        "1",
        "100",
    ],
)
def test_a_slippage_is_a_number_from_0_to_100(text: str) -> None:
    form = read_form(OrderForm, a_body(slippageTolerance=text))

    assert form.slippage_tolerance == Decimal(text)


@pytest.mark.parametrize("text", ['"0"', '"0.0"', '"0.000000000000000000"'])
def test_a_minimum_may_be_zero(text: str) -> None:
    assert order(read_form(OrderForm, a_body(minAmountOut=text))).min_amount_out == 0


@pytest.mark.parametrize("body", [a_body(), a_body(minAmountOut="null")])
def test_a_minimum_may_be_left_out(body: bytes) -> None:
    assert order(read_form(OrderForm, body)).min_amount_out is None


def test_a_duplicate_key_is_refused() -> None:
    body = a_body().replace(b"{", b'{"amountIn": "7", ', 1)

    with pytest.raises(InvalidBody, match=r'^duplicate key "amountIn"$'):
        read_form(OrderForm, body)


def test_a_duplicate_key_with_an_unpaired_surrogate_is_named_as_it_was_sent() -> None:
    with pytest.raises(InvalidBody, match=r'^duplicate key "\\ud800"'):
        read_form(OrderForm, b'{"\\ud800": 1, "\\ud800": 2}')


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_json_does_not_have_is_named(constant: str) -> None:
    with pytest.raises(InvalidBody, match=f"^{constant} is not a JSON number$"):
        read_form(OrderForm, a_body(slippageTolerance=constant))


def test_a_number_with_a_huge_exponent_is_an_invalid_field() -> None:
    with pytest.raises(InvalidOrder) as refused:
        read_form(OrderForm, a_body(slippageTolerance="1E99999999999999999999"))
    assert refused.value.errors[0].pointer == "/slippageTolerance"


def test_minus_zero_is_the_same_request_as_zero() -> None:
    hashes = {
        order(read_form(OrderForm, a_body(slippageTolerance=zero)), key="k").request_hash
        for zero in ("0", "-0", "0.0")
    }

    assert len(hashes) == 1


# Bodies that are not JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"SOL",
        b"{'tokenIn': 'SOL'}",
        b'{"tokenIn": "SOL",}',
        a_body() + b"}",
        a_body() + a_body(),
        b"\xef\xbb\xbf" + a_body(),
        a_body().decode().encode("utf-16"),
        a_body(tokenIn='"S\\u00"'),
        a_body().replace(b"SOL", b"\xff\xfe"),
        a_body().replace(b"SOL", b"\xc3"),
        a_body().replace(b"SOL", b"\xed\xa0\x80"),
        a_body().replace(b"SOL", b"S\x00L"),
        a_body().replace(b"SOL", b"S\nL"),
        a_body(slippageTolerance="NaN"),
        a_body(slippageTolerance="Infinity"),
        a_body(slippageTolerance="-Infinity"),
        a_body(amountIn="NaN"),
        a_body(slippageTolerance="+1"),
        a_body(slippageTolerance=".5"),
        a_body(slippageTolerance="01"),
        a_body(slippageTolerance="0x1"),
        b"[" * 16_000,
        b'{"tokenIn":' * 1_400,
    ],
)
def test_a_body_that_is_not_json_in_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        read_form(OrderForm, body)


def test_a_deeply_nested_body_is_refused() -> None:
    with pytest.raises(RequestError):
        read_form(OrderForm, a_body(tokenIn=nested(7_000)))


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"SOL"', b"true", b"[" + a_body() + b"]"])
def test_an_order_is_a_json_object(body: bytes) -> None:
    assert pointers(body) == [""]


# Invalid fields


@pytest.mark.parametrize("name", VALID)
def test_a_missing_field_is_pointed_at(name: str) -> None:
    assert pointers(without(name)) == [f"/{name}"]


@pytest.mark.parametrize(
    "name", ["type", "limitPrice", "token_in", "TokenIn", "tokenin", "idempotencyKey", "", " "]
)
def test_an_unknown_field_is_pointed_at(name: str) -> None:
    assert pointers(a_body(**{name: '"x"'})) == [f"/{name}"]


def test_a_field_under_its_python_name_is_unknown_and_missing() -> None:
    body = a_body().replace(b"tokenIn", b"token_in")

    assert set(pointers(body)) == {"/tokenIn", "/token_in"}


@pytest.mark.parametrize(("name", "pointer"), [("a/b", "/a~1b"), ("a~b", "/a~0b")])
def test_a_pointer_is_escaped(name: str, pointer: str) -> None:
    assert pointers(a_body(**{name: "1"})) == [pointer]


INVALID_AMOUNTS = [
    '""',
    '"."',
    '".5"',
    '"5."',
    '"-1"',
    '"+1"',
    '"007"',
    '"-0"',
    '" 1"',
    '"1 "',
    '"1\\n"',
    '"1,5"',
    '"1.2.3"',
    '"1e3"',
    '"1E3"',
    '"1_000"',
    '"0x10"',
    '"NaN"',
    '"Infinity"',
    '"1e400"',
    '"ten"',
    '"１００"',  # noqa: RUF001 - full-width digits, which Decimal would take
    '"٣"',
    '"0.0000000000000000001"',  # 19 decimals
    '"100000000000000000000"',  # 21 digits
    '"000000000000000000001"',
    '"99999999999999999999.9999999999999999999"',
    f'"{"1" * 10_000}"',
    '"\\ud800"',
    "1",
    "1.5",
    "true",
    "[]",
    "{}",
    nested(300),
]


@pytest.mark.parametrize("name", ["amountIn", "minAmountOut"])
@pytest.mark.parametrize("text", INVALID_AMOUNTS)
def test_an_amount_must_be_a_plain_decimal_string(name: str, text: str) -> None:
    assert pointers(a_body(**{name: text})) == [f"/{name}"]


@pytest.mark.parametrize("text", ['"0"', '"0.0"', '"00000.000000000000000000"', "null"])
def test_an_amount_must_be_above_zero(text: str) -> None:
    assert pointers(a_body(amountIn=text)) == ["/amountIn"]


@pytest.mark.parametrize(
    "text",
    [
        "-0.1",
        "-1e-18",
        "-1",
        "100.1",
        "100.000000000000000001",
        "101",
        "1" * 5000,
        "1e400",
        "1e-19",
        "0.1234567890123456789",
        "0.123456789012345678",
        "99.999999999999999999",
        "true",
        "false",
        "null",
        '"0.5"',
        '""',
        "[0.5]",
        "{}",
        nested(300),
    ],
)
def test_an_invalid_slippage_is_pointed_at(text: str) -> None:
    assert pointers(a_body(slippageTolerance=text)) == ["/slippageTolerance"]


@pytest.mark.parametrize("text", ["1e99999999999999999999", "1e-99999999999999999999"])
@pytest.mark.parametrize("name", ["slippageTolerance", "amountIn", "unknown"])
def test_a_huge_exponent_is_refused(name: str, text: str) -> None:
    with pytest.raises(RequestError):
        read_form(OrderForm, a_body(**{name: text}))


def test_a_token_is_not_swapped_for_itself() -> None:
    assert pointers(a_body(tokenIn='"USDC"')) == ["/tokenOut"]
    assert pointers(a_body(tokenIn='"USDC"', amountIn='"0"')) == ["/tokenOut", "/amountIn"]


@pytest.mark.parametrize(
    "text",
    ['""', '" "', '"a b"', '"été"', '"a\\nb"', '"a\\u007f"', f'"{"k" * 129}"', "1", "true", "[]"],
)
def test_a_client_order_id_must_be_printable_ascii_without_spaces(text: str) -> None:
    assert pointers(a_body(clientOrderId=text)) == ["/clientOrderId"]


def test_all_invalid_fields_are_reported_together() -> None:
    body = a_body(tokenIn='""', amountIn='"0"', slippageTolerance="101.5", clientOrderId='""')

    assert pointers(body) == ["/tokenIn", "/amountIn", "/slippageTolerance", "/clientOrderId"]


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidOrder) as invalid:
        read_form(OrderForm, a_body(amountIn='"<script>"'))

    assert "script" not in repr(invalid.value.errors)
