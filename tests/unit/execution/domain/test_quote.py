from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.domain.quote import rounded_amount, rounded_price
from support.builders import a_quote

LARGEST = Decimal("99999999999999999999.999999999999999999")
SMALLEST = Decimal("0.000000000000000001")


def _decimal(units: int, *, decimals: int) -> Decimal:
    """Exact at any length; arithmetic rounds to the 28 digits of the context."""
    return Decimal(f"{units}e-{decimals}")


amounts = st.builds(_decimal, st.integers(1, 10**38 - 1), decimals=st.just(18))
prices = st.builds(_decimal, st.integers(1, 10**16), decimals=st.just(8))
fee_rates = st.decimals(min_value=0, max_value=Decimal("0.1"), places=6)
percents = st.decimals(min_value=0, max_value=100, places=18)


def _rounded_down(exact: Fraction, *, decimals: int) -> Fraction:
    return Fraction(exact.numerator * 10**decimals // exact.denominator, 10**decimals)


@pytest.mark.parametrize(
    ("price", "fee_rate", "effective"),
    [
        ("1.5", "0.0025", "1.49625000"),
        ("1.5", "0.003", "1.49550000"),
        ("1.5", "0", "1.50000000"),
        ("1.5", "1", "0.00000000"),
        ("1.23456789", "0.0025", "1.23148147"),  # 1.231481470275
        ("0.99999999", "0.003", "0.99699999"),  # 0.99699999003
        ("0.00000001", "0.0025", "0.00000000"),  # rounding up would promise too much
    ],
)
def test_the_fee_comes_off_the_price_rounded_down_to_eight_decimals(
    price: str, fee_rate: str, effective: str
) -> None:
    quote = a_quote(price=Decimal(price), fee_rate=Decimal(fee_rate))

    assert f"{quote.effective_price:f}" == effective


@pytest.mark.parametrize(
    ("price", "rounded"),
    [("1", "1.00000000"), ("1.999999999", "1.99999999"), ("1.000000005", "1.00000000")],
)
def test_a_price_is_rounded_down_to_eight_decimals(price: str, rounded: str) -> None:
    assert str(rounded_price(Decimal(price))) == rounded


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        ("149.625", "149.625"),
        ("0.000000000000000001", "1E-18"),
        ("0.0000000000000000019", "1E-18"),
        ("0.0000000000000000009", "0E-18"),
        ("1E+19", "1E+19"),
        (str(LARGEST), str(LARGEST)),
    ],
)
def test_an_amount_is_rounded_down_to_eighteen_decimals(amount: str, rounded: str) -> None:
    assert str(rounded_amount(Decimal(amount))) == rounded


def test_the_amount_out_is_the_amount_in_at_the_effective_price() -> None:
    quote = a_quote(price=Decimal("1.5"), fee_rate=Decimal("0.0025"), amount_in=Decimal(100))

    assert quote.amount_out == Decimal("149.625")


def test_the_largest_amount_keeps_every_digit() -> None:
    quote = a_quote(price=Decimal("2.5"), fee_rate=Decimal(0), amount_in=LARGEST)

    assert quote.amount_out == Decimal("249999999999999999999.999999999999999997")


def test_the_largest_amount_at_the_longest_price_keeps_every_digit() -> None:
    quote = a_quote(price=Decimal("12345678.87654321"), fee_rate=Decimal(0), amount_in=LARGEST)

    assert quote.amount_out == Decimal("1234567887654320999999999999.999999999987654321")


def test_the_smallest_amount_buys_nothing_below_price_one() -> None:
    quote = a_quote(price=Decimal("0.5"), fee_rate=Decimal(0), amount_in=SMALLEST)

    assert quote.amount_out == 0


def test_an_amount_does_not_depend_on_the_callers_decimal_context() -> None:
    quote = a_quote(price=Decimal("2.5"), amount_in=LARGEST)
    usual = quote.amount_out

    with localcontext(prec=9):
        assert quote.amount_out == usual


@given(amount_in=amounts, price=prices, fee_rate=fee_rates)
def test_amounts_lose_nothing_that_eighteen_decimals_can_hold(
    amount_in: Decimal, price: Decimal, fee_rate: Decimal
) -> None:
    quote = a_quote(amount_in=amount_in, price=price, fee_rate=fee_rate)
    effective = _rounded_down(Fraction(price) * (1 - Fraction(fee_rate)), decimals=8)

    assert Fraction(quote.effective_price) == effective
    assert Fraction(quote.amount_out) == _rounded_down(Fraction(amount_in) * effective, decimals=18)


@pytest.mark.parametrize(
    ("slippage_percent", "client_minimum", "least"),
    [
        ("0", None, "149.625"),
        ("0.5", None, "148.876875"),
        ("100", None, "0.000000000000000001"),
        ("0.5", "0", "148.876875"),
        ("0.5", "148", "148.876875"),
        ("0.5", "149", "149"),
        ("100", "149", "149"),
        ("0", "200", "200"),
    ],
)
def test_the_minimum_is_the_higher_of_slippage_and_client_minimum(
    slippage_percent: str, client_minimum: str | None, least: str
) -> None:
    minimum = a_quote().min_amount_out(
        slippage_percent=Decimal(slippage_percent),
        client_minimum=None if client_minimum is None else Decimal(client_minimum),
    )

    assert minimum == Decimal(least)


@given(amount_in=amounts, price=prices, slippage_percent=percents.filter(lambda part: part < 100))
def test_the_slippage_is_taken_off_exactly_and_rounded_down(
    amount_in: Decimal, price: Decimal, slippage_percent: Decimal
) -> None:
    quote = a_quote(amount_in=amount_in, price=price)
    minimum = quote.min_amount_out(slippage_percent=slippage_percent, client_minimum=None)
    tolerated = Fraction(quote.amount_out) * (1 - Fraction(slippage_percent) / 100)

    assert Fraction(minimum) == _rounded_down(tolerated, decimals=18)


@given(amount_in=amounts, price=prices, slippage_percent=percents, share=st.fractions(0, 1))
def test_the_quoted_amount_is_accepted_when_the_client_minimum_is_lower(
    amount_in: Decimal, price: Decimal, slippage_percent: Decimal, share: Fraction
) -> None:
    quote = a_quote(amount_in=amount_in, price=price)
    lower = _rounded_down(Fraction(quote.amount_out) * share, decimals=18)
    minimum = quote.min_amount_out(
        slippage_percent=slippage_percent,
        client_minimum=_decimal(int(lower * 10**18), decimals=18),
    )

    assert minimum <= quote.amount_out


@given(amount_in=amounts, price=prices, slippage_percent=percents, client_minimum=amounts)
def test_the_minimum_is_never_below_the_client_minimum(
    amount_in: Decimal, price: Decimal, slippage_percent: Decimal, client_minimum: Decimal
) -> None:
    minimum = a_quote(amount_in=amount_in, price=price).min_amount_out(
        slippage_percent=slippage_percent, client_minimum=client_minimum
    )

    assert minimum >= client_minimum
