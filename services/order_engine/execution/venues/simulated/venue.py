"""Simulated venues, Raydium and Meteora, over one simulated chain.

The base price of a pair comes from a SHA-256 of the two tokens, so it is the same in every process.
Each quote deviates from it at random. Latencies and shares of faults are settings, and may be 0.
"""

import asyncio
import hashlib
import json
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from order_engine.execution.domain.errors import Overloaded, StoreUnavailable, VenueUnavailable
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import (
    AMOUNTS,
    Quote,
    VenueName,
    rounded_amount,
    rounded_price,
)
from order_engine.execution.domain.transaction import Outcome, Signature, Transaction
from order_engine.execution.venues.simulated.chain import (
    FILLED,
    NEVER_LANDS,
    REJECTED,
    SLIPPAGE,
    Entry,
    Ledger,
)

RAYDIUM = VenueName("raydium")
METEORA = VenueName("meteora")
FEE_RATES = {RAYDIUM: Decimal("0.0025"), METEORA: Decimal("0.003")}

BASE_PRICE_MIN = Decimal("0.5")
BASE_PRICE_SPAN = Decimal(2)
VARIANCE_MIN, VARIANCE_MAX = 0.02, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """How the simulated venues behave: times in seconds, shares from 0 to 1."""

    quote_latency_s: float = 0.0
    quote_jitter_s: float = 0.0
    execution_min_s: float = 0.0
    execution_max_s: float = 0.0
    validity_s: float = 30.0
    quote_lifetime_s: float = 30.0
    price_drift_max: float = 0.0
    call_failure_share: float = 0.0
    lost_reply_share: float = 0.0
    never_lands_share: float = 0.0
    rejection_share: float = 0.0


class SimulatedVenue:
    """One venue; implements `order_engine.execution.domain.venue.Venue`."""

    def __init__(
        self, name: VenueName, *, ledger: Ledger, settings: SimulationSettings, rng: random.Random
    ) -> None:
        self.name = name
        self._fee_rate = FEE_RATES[name]
        self._ledger = ledger
        self._settings = settings
        self._rng = rng

    async def quote(self, order: NewOrder, *, now: datetime) -> Quote:
        self._fail_at_random()
        settings = self._settings
        await asyncio.sleep(
            settings.quote_latency_s + self._rng.uniform(0, settings.quote_jitter_s)
        )
        variance = self._rng.choice((-1, 1)) * self._rng.uniform(VARIANCE_MIN, VARIANCE_MAX)
        price = AMOUNTS.multiply(
            base_price(order.token_in, order.token_out), _decimal(1 + variance)
        )
        self._lose_reply_at_random()
        return Quote(
            venue=self.name,
            price=rounded_price(price),
            fee_rate=self._fee_rate,
            amount_in=order.amount_in,
            expires_at=now + timedelta(seconds=settings.quote_lifetime_s),
        )

    async def build(self, order: NewOrder, quote: Quote, *, min_amount_out: Decimal) -> Transaction:
        self._fail_at_random()
        with _venue_errors():
            clock = await self._ledger.clock()
        valid_until = clock + timedelta(seconds=self._settings.validity_s)
        content = json.dumps(
            {
                "orderId": str(order.id),
                "venue": self.name,
                "tokenIn": order.token_in,
                "tokenOut": order.token_out,
                "amountIn": str(order.amount_in),
                "quotedPrice": str(quote.effective_price),
                "minAmountOut": str(min_amount_out),
                "validUntil": valid_until.isoformat(),
                "nonce": secrets.token_hex(16),
            }
        ).encode()
        self._lose_reply_at_random()
        signature = Signature("0x" + hashlib.sha256(content).hexdigest())
        return Transaction(signature=signature, content=content, valid_until=valid_until)

    async def send(self, transaction: Transaction) -> None:
        self._fail_at_random()
        with _venue_errors():
            await self._ledger.record(self._entry(transaction))
        self._lose_reply_at_random()

    async def outcomes(self, transactions: Sequence[Transaction]) -> Mapping[Signature, Outcome]:
        self._fail_at_random()
        with _venue_errors():
            return await self._ledger.outcomes([each.signature for each in transactions])

    async def expire(self, transaction: Transaction) -> Outcome | None:
        self._fail_at_random()
        with _venue_errors():
            outcome = await self._ledger.expire(transaction)
        self._lose_reply_at_random()
        return outcome

    def _entry(self, transaction: Transaction) -> Entry:
        """A ledger entry with a random outcome. The ledger keeps only the first entry of a signature."""
        content, settings = json.loads(transaction.content), self._settings
        drift = _decimal(1 - self._rng.uniform(0, settings.price_drift_max))
        price = rounded_price(AMOUNTS.multiply(Decimal(content["quotedPrice"]), drift))
        amount_out = rounded_amount(AMOUNTS.multiply(Decimal(content["amountIn"]), price))
        outcome, reason = self._random_outcome()
        if outcome == FILLED and amount_out < Decimal(content["minAmountOut"]):
            outcome, reason = REJECTED, SLIPPAGE
        return Entry(
            transaction=transaction,
            order_id=content["orderId"],
            venue=self.name,
            outcome=outcome,
            reason=reason,
            executed_price=price,
            amount_out=amount_out,
            latency_s=self._rng.uniform(settings.execution_min_s, settings.execution_max_s),
        )

    def _random_outcome(self) -> tuple[str, str | None]:
        number = self._rng.random()
        if number < self._settings.never_lands_share:
            return NEVER_LANDS, None
        if number < self._settings.never_lands_share + self._settings.rejection_share:
            return REJECTED, "the venue rejected the transaction"
        return FILLED, None

    def _fail_at_random(self) -> None:
        if self._rng.random() < self._settings.call_failure_share:
            raise VenueUnavailable(f"{self.name} refused the call")

    def _lose_reply_at_random(self) -> None:
        if self._rng.random() < self._settings.lost_reply_share:
            raise VenueUnavailable(f"{self.name} did not answer")


def simulated_venues(
    ledger: Ledger, settings: SimulationSettings, *, rng: random.Random
) -> dict[VenueName, SimulatedVenue]:
    return {
        name: SimulatedVenue(name, ledger=ledger, settings=settings, rng=rng) for name in FEE_RATES
    }


def base_price(token_in: str, token_out: str) -> Decimal:
    """From 0.5 to 2.5; always the same for a pair."""
    digest = hashlib.sha256(f"{token_in}/{token_out}".encode()).digest()
    share = Decimal(int.from_bytes(digest[:8])) / Decimal(2**64)
    return rounded_price(BASE_PRICE_MIN + BASE_PRICE_SPAN * share)


def _decimal(factor: float) -> Decimal:
    return Decimal(repr(factor))


@contextmanager
def _venue_errors() -> Iterator[None]:
    """When the database of the chain is away, so is the venue."""
    try:
        yield
    except (StoreUnavailable, Overloaded) as error:
        raise VenueUnavailable(str(error)) from error
