from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal
from typing import NamedTuple, NewType

VenueName = NewType("VenueName", str)


class Pair(NamedTuple):
    """The tokens of a swap. The other direction is another pair, with a price of its own."""

    token_in: str
    token_out: str

    def __str__(self) -> str:
        return f"{self.token_in}/{self.token_out}"


# Exact for an amount with 20 digits before the point and 18 after, times a price with 8 decimals.
AMOUNTS = Context(prec=76, rounding=ROUND_DOWN)
PRICE_STEP = Decimal("1e-8")
AMOUNT_DECIMALS = 18
SMALLEST_AMOUNT = Decimal(1).scaleb(-AMOUNT_DECIMALS)
ANY_SLIPPAGE = 100  # percent


def rounded_price(price: Decimal) -> Decimal:
    """Eight decimals, rounded down: every price is stored and sent in this form."""
    return price.quantize(PRICE_STEP, context=AMOUNTS)


def effective_price(price: Decimal, *, fee_rate: Decimal) -> Decimal:
    """What is left of a price after the venue's fee."""
    return rounded_price(AMOUNTS.multiply(price, 1 - fee_rate))


def rounded_amount(amount: Decimal) -> Decimal:
    """At most eighteen decimals, rounded down, so that a quote never promises more than is paid."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -AMOUNT_DECIMALS:
        return amount
    return amount.quantize(SMALLEST_AMOUNT, context=AMOUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPrice:
    """What a venue pays now: `token_out` for one `token_in` of a small swap, after its fee.

    `volume_60s` is the `token_in` that was swapped in the last minute; None when it is not known.
    """

    effective_price: Decimal
    volume_60s: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a venue offers for one swap. `price` is token_out per token_in before `fee_rate`."""

    venue: VenueName
    price: Decimal
    fee_rate: Decimal
    amount_in: Decimal
    expires_at: datetime

    @property
    def effective_price(self) -> Decimal:
        return effective_price(self.price, fee_rate=self.fee_rate)

    @property
    def amount_out(self) -> Decimal:
        return rounded_amount(AMOUNTS.multiply(self.amount_in, self.effective_price))

    def min_amount_out(
        self, *, slippage_percent: Decimal, client_minimum: Decimal | None
    ) -> Decimal:
        """The least that the swap may pay: the quote less the slippage, but at least the client's minimum.

        A client that tolerates any slippage still gets something. 0 when the amount is so small
        that nothing may be left of it.
        """
        if slippage_percent == ANY_SLIPPAGE:
            tolerated = min(self.amount_out, SMALLEST_AMOUNT)
        else:
            tolerated = AMOUNTS.multiply(self.amount_out, 1 - slippage_percent / 100)
        return max(rounded_amount(tolerated), client_minimum or Decimal(0))
