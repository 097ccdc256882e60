from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.domain.errors import MinAmountOutUnreachable, NoLiveQuote
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.routing import best_quote
from support.builders import NOON, a_quote

RAYDIUM, METEORA, ORCA = VenueName("raydium"), VenueName("meteora"), VenueName("orca")
EXPIRED = NOON - timedelta(seconds=1)


def test_the_quote_that_pays_most_is_the_route() -> None:
    low = a_quote(venue=METEORA, price=Decimal("1.4"))
    high = a_quote(venue=RAYDIUM, price=Decimal("1.5"))

    assert best_quote([low, high], client_minimum=None, now=NOON) == high


def test_quotes_are_compared_after_fees() -> None:
    dear = a_quote(venue=RAYDIUM, price=Decimal("1.51"), fee_rate=Decimal("0.1"))
    fair = a_quote(venue=METEORA, price=Decimal("1.50"), fee_rate=Decimal(0))

    assert best_quote([dear, fair], client_minimum=None, now=NOON) == fair


@pytest.mark.parametrize(
    "quotes", list(permutations([a_quote(venue=name) for name in (RAYDIUM, METEORA, ORCA)]))
)
def test_on_a_tie_the_venue_first_by_name_wins(quotes: Sequence[Quote]) -> None:
    assert best_quote(quotes, client_minimum=None, now=NOON).venue == METEORA


def test_prices_that_are_equal_to_eight_decimals_are_a_tie() -> None:
    better_at_the_ninth_decimal = a_quote(
        venue=RAYDIUM, price=Decimal("1.500000001"), fee_rate=Decimal(0)
    )
    first = a_quote(venue=METEORA, price=Decimal("1.5"), fee_rate=Decimal(0))

    assert best_quote([better_at_the_ninth_decimal, first], client_minimum=None, now=NOON) == first


def test_an_expired_quote_is_not_a_route() -> None:
    expired = a_quote(venue=METEORA, price=Decimal(9), expires_at=EXPIRED)
    live = a_quote(venue=RAYDIUM)

    assert best_quote([expired, live], client_minimum=None, now=NOON) == live


def test_a_quote_is_not_live_at_the_time_it_expires() -> None:
    with pytest.raises(NoLiveQuote):
        best_quote([a_quote(expires_at=NOON)], client_minimum=None, now=NOON)


@pytest.mark.parametrize(
    "quotes", [[], [a_quote(expires_at=EXPIRED), a_quote(venue=METEORA, expires_at=EXPIRED)]]
)
def test_without_a_live_quote_there_is_no_route(quotes: Sequence[Quote]) -> None:
    with pytest.raises(NoLiveQuote):
        best_quote(quotes, client_minimum=None, now=NOON)


def test_a_minimum_above_the_best_quote_is_unreachable() -> None:
    quotes = [a_quote(venue=RAYDIUM), a_quote(venue=METEORA, price=Decimal("1.4"))]

    with pytest.raises(
        MinAmountOutUnreachable, match=r"pays 149\.6250*, below minAmountOut 149\.63"
    ):
        best_quote(quotes, client_minimum=Decimal("149.63"), now=NOON)


def test_a_minimum_that_the_best_quote_pays_exactly_is_reached() -> None:
    quote = a_quote()

    assert best_quote([quote], client_minimum=quote.amount_out, now=NOON) == quote


def test_a_minimum_that_only_an_expired_quote_pays_is_unreachable() -> None:
    generous = a_quote(venue=METEORA, price=Decimal(9), expires_at=EXPIRED)

    with pytest.raises(MinAmountOutUnreachable):
        best_quote([generous, a_quote()], client_minimum=Decimal(200), now=NOON)


def test_a_minimum_of_zero_is_always_reached() -> None:
    assert best_quote([a_quote()], client_minimum=Decimal(0), now=NOON) == a_quote()


def test_the_error_for_an_unreachable_minimum_shows_every_digit() -> None:
    pays, wants = (
        "12345678901234567890.123456789012345678",
        "12345678901234567890.123456789012345679",
    )
    quote = a_quote(price=Decimal(1), fee_rate=Decimal(0), amount_in=Decimal(pays))

    with pytest.raises(MinAmountOutUnreachable) as unreachable:
        best_quote([quote], client_minimum=Decimal(wants), now=NOON)

    assert str(unreachable.value) == f"the best quote pays {pays}, below minAmountOut {wants}"


quotes_of_one_order = st.lists(
    st.builds(
        a_quote,
        venue=st.sampled_from([RAYDIUM, METEORA, ORCA]),
        price=st.decimals(min_value=Decimal("0.1"), max_value=Decimal(3), places=8),
        expires_at=st.sampled_from([EXPIRED, NOON + timedelta(seconds=1)]),
    ),
    max_size=6,
)


@given(quotes=quotes_of_one_order)
def test_no_live_quote_pays_more_than_the_route(quotes: list[Quote]) -> None:
    live = [quote for quote in quotes if quote.expires_at > NOON]
    if not live:
        with pytest.raises(NoLiveQuote):
            best_quote(quotes, client_minimum=None, now=NOON)
        return
    best = best_quote(quotes, client_minimum=None, now=NOON)

    assert best in live
    assert best.amount_out == max(quote.amount_out for quote in live)
