import json
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


# What is taken


def test_a_form_becomes_the_order_that_was_asked_for() -> None:
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
def test_an_amount_is_kept_digit_by_digit(amount: str) -> None:
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
def test_a_slippage_is_any_number_of_percent_up_to_a_hundred(text: str) -> None:
    form = read_form(OrderForm, a_body(slippageTolerance=text))

    assert form.slippage_tolerance == Decimal(text)


@pytest.mark.parametrize("text", ['"0"', '"0.0"', '"0.000000000000000000"'])
def test_a_minimum_may_be_zero(text: str) -> None:
    assert order(read_form(OrderForm, a_body(minAmountOut=text))).min_amount_out == 0


@pytest.mark.parametrize("body", [a_body(), a_body(minAmountOut="null")])
def test_a_minimum_may_be_left_out(body: bytes) -> None:
    assert order(read_form(OrderForm, body)).min_amount_out is None


@pytest.mark.parametrize("token", ["S", "x" * 64, "été", "水", "a b", "So11111111111111111111112"])
def test_a_token_is_any_short_readable_text(token: str) -> None:
    assert read_form(OrderForm, a_body(tokenIn=f'"{token}"')).token_in == token


@pytest.mark.parametrize(
    "token",
    [
        *("SOL\u200b", "\u202eSOL", "\ufeffSOL", "S\u00adOL", "S\u2028L", "S\u034fOL", "SOL\u3164"),
        *("SOL\ufe0f", "SOL\uffff", "SOL\ufdd0", "SOL\U000e0041", "SOL\U000e0100", "SOL\U0010fffe"),
    ],
)
def test_two_tokens_cannot_look_like_one(token: str) -> None:
    with pytest.raises(InvalidOrder) as refused:
        read_form(OrderForm, a_body(tokenIn=f'"{token}"'))
    assert refused.value.errors[0].pointer == "/tokenIn"


def test_a_name_that_comes_twice_is_refused_because_others_may_take_the_other_value() -> None:
    body = a_body().replace(b"{", b'{"amountIn": "7", ', 1)

    with pytest.raises(InvalidBody, match=r'^"amountIn" comes twice in one object$'):
        read_form(OrderForm, body)


def test_a_name_of_half_a_character_that_comes_twice_is_named_as_it_was_sent() -> None:
    with pytest.raises(InvalidBody, match=r'^"\\ud800" comes twice'):
        read_form(OrderForm, b'{"\\ud800": 1, "\\ud800": 2}')


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_json_does_not_know_is_named(constant: str) -> None:
    with pytest.raises(InvalidBody, match=f"^{constant} is not JSON$"):
        read_form(OrderForm, a_body(slippageTolerance=constant))


def test_an_exponent_beyond_every_number_is_a_fault_of_its_field() -> None:
    with pytest.raises(InvalidOrder) as refused:
        read_form(OrderForm, a_body(slippageTolerance="1E99999999999999999999"))
    assert refused.value.errors[0].pointer == "/slippageTolerance"


def test_minus_zero_asks_for_the_same_as_zero() -> None:
    hashes = {
        order(read_form(OrderForm, a_body(slippageTolerance=zero)), key="k").request_hash
        for zero in ("0", "-0", "0.0")
    }

    assert len(hashes) == 1


# What is no JSON


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
def test_what_is_no_json_in_utf8_cannot_be_read(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        read_form(OrderForm, body)


def test_what_is_nested_beyond_the_stack_is_refused() -> None:
    with pytest.raises(RequestError):
        read_form(OrderForm, a_body(tokenIn=nested(7_000)))


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"SOL"', b"true", b"[" + a_body() + b"]"])
def test_an_order_is_a_json_object(body: bytes) -> None:
    assert pointers(body) == [""]


# What is wrong where


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


NO_AMOUNTS = [
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
@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_what_is_no_plain_decimal_string_is_no_amount(name: str, text: str) -> None:
    assert pointers(a_body(**{name: text})) == [f"/{name}"]


@pytest.mark.parametrize("text", ['"0"', '"0.0"', '"00000.000000000000000000"', "null"])
def test_an_order_asks_for_more_than_nothing(text: str) -> None:
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
def test_what_is_no_percentage_is_no_slippage(text: str) -> None:
    assert pointers(a_body(slippageTolerance=text)) == ["/slippageTolerance"]


@pytest.mark.parametrize("text", ["1e99999999999999999999", "1e-99999999999999999999"])
@pytest.mark.parametrize("name", ["slippageTolerance", "amountIn", "unknown"])
def test_an_exponent_beyond_all_bounds_is_refused(name: str, text: str) -> None:
    with pytest.raises(RequestError):
        read_form(OrderForm, a_body(**{name: text}))


@pytest.mark.parametrize("name", ["tokenIn", "tokenOut"])
@pytest.mark.parametrize(
    "text",
    [
        '""',
        '" "',
        '" SOL"',
        '"SOL "',
        '"\\u00a0SOL"',
        '"S\\u0000L"',
        '"S\\nL"',
        '"SOL\\n"',
        '"S\\u001bL"',
        '"S\\u007fL"',
        '"S\\u0085L"',
        '"S\\ud800L"',
        f'"{"x" * 65}"',
        "null",
        "1",
        "true",
        '["SOL"]',
        "{}",
    ],
)
def test_what_is_no_short_readable_text_is_no_token(name: str, text: str) -> None:
    assert pointers(a_body(**{name: text})) == [f"/{name}"]


def test_a_token_is_not_swapped_for_itself() -> None:
    assert pointers(a_body(tokenIn='"USDC"')) == ["/tokenOut"]
    assert pointers(a_body(tokenIn='"USDC"', amountIn='"0"')) == ["/tokenOut", "/amountIn"]


@pytest.mark.parametrize(
    "text",
    ['""', '" "', '"a b"', '"été"', '"a\\nb"', '"a\\u007f"', f'"{"k" * 129}"', "1", "true", "[]"],
)
def test_what_is_no_visible_ascii_is_no_client_order_id(text: str) -> None:
    assert pointers(a_body(clientOrderId=text)) == ["/clientOrderId"]


def test_every_wrong_field_is_pointed_at_at_once() -> None:
    body = a_body(tokenIn='""', amountIn='"0"', slippageTolerance="101.5", clientOrderId='""')

    assert pointers(body) == ["/tokenIn", "/amountIn", "/slippageTolerance", "/clientOrderId"]


def test_an_error_does_not_say_the_value_back() -> None:
    with pytest.raises(InvalidOrder) as invalid:
        read_form(OrderForm, a_body(amountIn='"<script>"'))

    assert "script" not in repr(invalid.value.errors)


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
def test_the_key_is_what_body_and_header_agree_on(
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
def test_a_header_that_is_no_key_is_refused(header: str) -> None:
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
def test_the_same_request_in_other_clothes_has_the_same_hash(same: bytes) -> None:
    assert hashed(same) == hashed(a_body())


def test_the_key_is_no_part_of_the_hash() -> None:
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
def test_another_request_has_another_hash(other: bytes) -> None:
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
def test_the_same_number_written_otherwise_is_the_same_request(
    name: str, one: str, other: str
) -> None:
    first, second = (
        read_form(OrderForm, a_body(**{name: text})).order(
            ORDER_ID, account_id=LOCAL_ACCOUNT, idempotency_key="k"
        )
        for text in (one, other)
    )

    assert first.request_hash == second.request_hash
