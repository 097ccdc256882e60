"""A market whose prices and volumes are a function of the pair, the time and a seed.

All processes agree on it without a message, and a run can be replayed. The noise is value noise:
random numbers at the multiples of a period, with smooth curves between them. The numbers come from
SHA-256 and the arithmetic is decimal, so that no platform rounds otherwise.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache

from order_engine.execution.domain.quote import Pair, VenueName, rounded_price

BASE_PRICE_MIN = Decimal("0.5")
BASE_PRICE_SPAN = Decimal(2)
DEVIATION_MIN, DEVIATION_MAX = Decimal("0.02"), Decimal("0.05")
VOLUME_MIN, VOLUME_SPAN = Decimal(1_000), Decimal(99_000)

# The periods of the noise in seconds, with their shares, which add up to 1.
PERIODS = ((8, Decimal("0.1")), (32, Decimal("0.2")), (128, Decimal("0.3")), (512, Decimal("0.4")))

SPIKE_EVERY_S = 600  # one spike of volume in each of these, at a random time
SPIKE_S = 60
SPIKE_FACTOR = 5

NUMBERS = Context(prec=28, rounding=ROUND_HALF_EVEN)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMarket:
    """`volatility` bounds how far prices move: from base x exp(-volatility) to base x exp(volatility)."""

    seed: int = 0
    volatility: Decimal = Decimal(0)

    def price(self, pair: Pair, at: datetime) -> Decimal:
        """`token_out` for one `token_in`, before the deviation and the fee of a venue."""
        if self.volatility == 0:
            return base_price(pair)
        with localcontext(NUMBERS):
            noise = _noise(f"{self.seed}/{pair}", _microseconds(at))
            return rounded_price(base_price(pair) * (self.volatility * noise).exp())

    def deviation(self, venue: VenueName, pair: Pair, at: datetime) -> Decimal:
        """By which share a venue's price differs, up or down: the same for a whole second."""
        second = _microseconds(at) // SECOND
        digest = hashlib.sha256(f"{self.seed}/{venue}/{pair}/{second}".encode()).digest()
        with localcontext(NUMBERS):
            size = DEVIATION_MIN + (DEVIATION_MAX - DEVIATION_MIN) * _share(digest[1:9])
            return size if digest[0] % 2 else -size

    def volume_60s(self, pair: Pair, at: datetime) -> Decimal:
        """How much of `token_in` was swapped in the last minute."""
        now = _microseconds(at)
        with localcontext(NUMBERS):
            rate = VOLUME_MIN + VOLUME_SPAN * _hashed_share(f"{self.seed}/{pair}/volume")
            noise = _noise(f"{self.seed}/{pair}/volume", now)
            factor = SPIKE_FACTOR if self._is_spike(pair, now) else 1
            return rounded_price(rate * noise.exp() * factor)

    def _is_spike(self, pair: Pair, now: int) -> bool:
        n, since = divmod(now, SPIKE_EVERY_S * SECOND)
        begin = _hashed_share(f"{self.seed}/{pair}/spike/{n}") * (SPIKE_EVERY_S - SPIKE_S) * SECOND
        return begin <= since < begin + SPIKE_S * SECOND


def base_price(pair: Pair) -> Decimal:
    """From 0.5 to 2.5; always the same for a pair."""
    with localcontext(NUMBERS):
        return rounded_price(BASE_PRICE_MIN + BASE_PRICE_SPAN * _hashed_share(str(pair)))


def _noise(name: str, now: int) -> Decimal:
    """From -1 to 1 and smooth in time; `now` in microseconds since 1970."""
    total = Decimal(0)
    for period_s, share in PERIODS:
        n, since = divmod(now, period_s * SECOND)
        part = Decimal(since) / (period_s * SECOND)
        eased = part * part * (3 - 2 * part)
        before, after = _lattice(name, period_s, n), _lattice(name, period_s, n + 1)
        total += share * (before + (after - before) * eased)
    return total


@lru_cache(65_536)
def _lattice(name: str, period_s: int, n: int) -> Decimal:
    """The random number at the n-th multiple of a period, from -1 to 1."""
    with localcontext(NUMBERS):
        return 2 * _hashed_share(f"{name}/{period_s}/{n}") - 1


def _hashed_share(text: str) -> Decimal:
    return _share(hashlib.sha256(text.encode()).digest()[:8])


def _share(number: bytes) -> Decimal:
    """From 0 to 1."""
    return Decimal(int.from_bytes(number)) / Decimal(2**64)


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND
