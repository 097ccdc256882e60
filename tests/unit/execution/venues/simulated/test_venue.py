import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.venues.simulated.venue import base_price


def _from_hash(pair: str) -> str:
    """0.5 plus the first 64 bits of the hash as a share of 2, cut to eight decimals; in integers."""
    share = int(hashlib.sha256(pair.encode()).hexdigest()[:16], 16)
    hundred_millionths = (10**8 * (2**64 + 4 * share)) // 2**65
    return f"{hundred_millionths // 10**8}.{hundred_millionths % 10**8:08d}"


@pytest.mark.parametrize(
    ("token_in", "token_out", "price"),
    [
        ("SOL", "USDC", "1.95231110"),
        ("USDC", "SOL", "1.00967312"),
        ("SOL", "USDT", "0.51965068"),
        ("é", "水", "1.54757089"),
    ],
)
def test_a_pair_has_the_same_base_price_in_every_process(
    token_in: str, token_out: str, price: str
) -> None:
    assert str(base_price(token_in, token_out)) == price


@given(
    token_in=st.text(st.characters(codec="utf-8")), token_out=st.text(st.characters(codec="utf-8"))
)
def test_the_base_price_is_a_hash_of_the_pair(token_in: str, token_out: str) -> None:
    assert str(base_price(token_in, token_out)) == _from_hash(f"{token_in}/{token_out}")


@given(
    token_in=st.text(st.characters(codec="utf-8")), token_out=st.text(st.characters(codec="utf-8"))
)
def test_every_base_price_lies_between_a_half_and_two_and_a_half(
    token_in: str, token_out: str
) -> None:
    assert Decimal("0.5") <= base_price(token_in, token_out) <= Decimal("2.5")


def test_base_prices_fill_their_range() -> None:
    prices = [base_price(f"token-{n}", "USDC") for n in range(1000)]

    assert min(prices) < Decimal("0.51")
    assert max(prices) > Decimal("2.49")
