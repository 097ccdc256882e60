"""The simulated market: a function of pair, time and seed."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.domain.quote import Pair, VenueName
from order_engine.execution.venues.simulated.market import SimulatedMarket, base_price

SOL_USDC = Pair("SOL", "USDC")
MARKET = SimulatedMarket(seed=7, volatility=Decimal("0.02"))
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)

times = st.timedeltas(timedelta(0), timedelta(days=80_000)).map(
    lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since
)
tokens = st.text(st.characters(codec="utf-8"), max_size=20)
pairs = st.builds(Pair, tokens, tokens)


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
    assert str(base_price(Pair(token_in, token_out))) == price


@given(
    token_in=st.text(st.characters(codec="utf-8")), token_out=st.text(st.characters(codec="utf-8"))
)
def test_the_base_price_is_a_hash_of_the_pair(token_in: str, token_out: str) -> None:
    assert str(base_price(Pair(token_in, token_out))) == _from_hash(f"{token_in}/{token_out}")


@given(
    token_in=st.text(st.characters(codec="utf-8")), token_out=st.text(st.characters(codec="utf-8"))
)
def test_every_base_price_lies_between_a_half_and_two_and_a_half(
    token_in: str, token_out: str
) -> None:
    assert Decimal("0.5") <= base_price(Pair(token_in, token_out)) <= Decimal("2.5")


def test_base_prices_fill_their_range() -> None:
    prices = [base_price(Pair(f"token-{n}", "USDC")) for n in range(1000)]

    assert min(prices) < Decimal("0.51")
    assert max(prices) > Decimal("2.49")


@given(pair=pairs, at=times)
def test_a_market_without_volatility_stands_still(pair: Pair, at: datetime) -> None:
    assert SimulatedMarket().price(pair, at) == base_price(pair)


@given(pair=pairs, at=times, volatility=st.decimals(0, 1, places=3))
def test_a_price_moves_by_no_more_than_the_volatility(
    pair: Pair, at: datetime, volatility: Decimal
) -> None:
    ratio = SimulatedMarket(volatility=volatility).price(pair, at) / base_price(pair)

    assert (-volatility).exp() - Decimal("1e-7") <= ratio <= volatility.exp() + Decimal("1e-7")


@given(pair=pairs, at=times)
def test_a_price_moves_without_jumps(pair: Pair, at: datetime) -> None:
    # the steepest curve rises by 2 x 1.5 in its period: here 0.076 in a second at most
    before, after = MARKET.price(pair, at), MARKET.price(pair, at + timedelta(seconds=1))

    assert abs(after / before - 1) < Decimal("0.002")


def test_prices_use_their_range() -> None:
    ratios = [
        MARKET.price(SOL_USDC, NOON + timedelta(seconds=30 * n)) / base_price(SOL_USDC)
        for n in range(2_000)
    ]

    assert min(ratios) < Decimal("0.988")
    assert max(ratios) > Decimal("1.012")


@pytest.mark.parametrize(
    ("seed", "seconds", "price", "deviation", "volume"),
    [
        (0, 0, "1.94731291", "-0.02166820", "77978.02678594"),
        (7, 0, "1.95243419", "-0.03650515", "68282.01137139"),
        (7, 1, "1.95255356", "-0.02805695", "68451.48237072"),
        (7, 600, "1.94318558", "0.04266973", "79464.87706934"),
        (7, 86_400, "1.94382660", "0.03324149", "109171.35019781"),
    ],
)
def test_a_seed_gives_the_same_market_everywhere(
    seed: int, seconds: int, price: str, deviation: str, volume: str
) -> None:
    market = SimulatedMarket(seed=seed, volatility=Decimal("0.02"))
    at = NOON + timedelta(seconds=seconds)
    with localcontext(prec=6):  # the context of a caller does not matter
        found = market.price(SOL_USDC, at)
        deviated = market.deviation(VenueName("raydium"), SOL_USDC, at)
        swapped = market.volume_60s(SOL_USDC, at)

    assert str(found) == price
    assert f"{deviated:.8f}" == deviation
    assert str(swapped) == volume


def test_a_pair_and_its_reverse_move_apart() -> None:
    there, back = (
        [MARKET.price(pair, NOON + timedelta(minutes=n)) / base_price(pair) for n in range(60)]
        for pair in (SOL_USDC, Pair("USDC", "SOL"))
    )

    assert there != back


@given(pair=pairs, at=times, venue=st.sampled_from(["raydium", "meteora"]))
def test_a_venue_deviates_by_two_to_five_percent_for_a_second(
    pair: Pair, at: datetime, venue: str
) -> None:
    name, second = VenueName(venue), at.replace(microsecond=0)
    found = {
        MARKET.deviation(name, pair, second + timedelta(microseconds=part))
        for part in (0, 1, 500_000, 999_999)
    }

    assert len(found) == 1
    assert Decimal("0.02") <= abs(found.pop()) <= Decimal("0.05")


def test_the_volume_has_one_spike_in_ten_minutes() -> None:
    volumes = [MARKET.volume_60s(SOL_USDC, NOON + timedelta(seconds=n)) for n in range(3_600)]
    steps = list(pairwise(volumes))
    ups = sum(later > 4 * volume for volume, later in steps)
    downs = sum(volume > 4 * later for volume, later in steps)

    assert min(volumes) > 0
    assert (ups, downs) == (6, 6)
