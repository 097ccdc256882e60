"""Simulated venues, Raydium and Meteora, over one simulated chain.

Prices come from the simulated market, the same in every process, or from its price board. A venue's
price deviates from that of the market: at random for each quote when the market stands still, and
for a second when it moves. Latencies and shares of faults are settings, and may be 0.
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
    Pair,
    PairPrice,
    Quote,
    VenueName,
    effective_price,
    rounded_amount,
    rounded_price,
)
from order_engine.execution.domain.transaction import Outcome, Signature, Transaction
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.venues.simulated.board import PostedPrice, PriceBoard
from order_engine.execution.venues.simulated.chain import (
    FILLED,
    NEVER_LANDS,
    REJECTED,
    SLIPPAGE,
    Entry,
    Ledger,
)
from order_engine.execution.venues.simulated.market import SimulatedMarket

RAYDIUM = VenueName("raydium")
METEORA = VenueName("meteora")
FEE_RATES = {RAYDIUM: Decimal("0.0025"), METEORA: Decimal("0.003")}

DEVIATION_MIN, DEVIATION_MAX = 0.02, 0.05


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
    price_board: bool = False
    call_failure_share: float = 0.0
    lost_reply_share: float = 0.0
    never_lands_share: float = 0.0
    rejection_share: float = 0.0


class SimulatedVenue:
    """One venue; implements `order_engine.execution.domain.venue.Venue`."""

    def __init__(
        self,
        name: VenueName,
        *,
        ledger: Ledger,
        board: PriceBoard,
        market: SimulatedMarket,
        settings: SimulationSettings,
        rng: random.Random,
    ) -> None:
        self.name = name
        self._fee_rate = FEE_RATES[name]
        self._ledger = ledger
        self._board = board
        self._market = market
        self._settings = settings
        self._rng = rng

    async def quote(self, order: NewOrder, *, now: datetime) -> Quote:
        self._fail_at_random()
        await self._wait_for_quote()
        posted = (await self._posted([order.pair])).get(order.pair)
        price = posted.price if posted else self._price(order.pair, now)
        self._lose_reply_at_random()
        return Quote(
            venue=self.name,
            price=price,
            fee_rate=self._fee_rate,
            amount_in=order.amount_in,
            expires_at=now + timedelta(seconds=self._settings.quote_lifetime_s),
        )

    async def prices(self, pairs: Sequence[Pair], *, now: datetime) -> Mapping[Pair, PairPrice]:
        self._fail_at_random()
        await self._wait_for_quote()
        posted = await self._posted(pairs)
        self._lose_reply_at_random()
        found = {}
        for pair in pairs:
            on_board = posted.get(pair)
            price = on_board.price if on_board else self._price(pair, now)
            volume = on_board.volume_60s if on_board else self._market.volume_60s(pair, now)
            found[pair] = PairPrice(
                effective_price=effective_price(price, fee_rate=self._fee_rate), volume_60s=volume
            )
        return found

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

    async def _wait_for_quote(self) -> None:
        jitter_s = self._rng.uniform(0, self._settings.quote_jitter_s)
        await asyncio.sleep(self._settings.quote_latency_s + jitter_s)

    async def _posted(self, pairs: Sequence[Pair]) -> Mapping[Pair, PostedPrice]:
        """The prices on the board, which hold exactly."""
        if not self._settings.price_board:
            return {}
        with _venue_errors():
            return await self._board.prices(pairs)

    def _price(self, pair: Pair, now: datetime) -> Decimal:
        if self._market.volatility == 0:
            size = self._rng.choice((-1, 1)) * self._rng.uniform(DEVIATION_MIN, DEVIATION_MAX)
            deviated = _decimal(1 + size)
        else:
            deviated = 1 + self._market.deviation(self.name, pair, now)
        return rounded_price(AMOUNTS.multiply(self._market.price(pair, now), deviated))

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
    chain: GroupCommit,
    settings: SimulationSettings,
    *,
    market: SimulatedMarket,
    rng: random.Random,
) -> dict[VenueName, SimulatedVenue]:
    """Both venues. `chain` is the connection to the database of the chain."""
    ledger, board = Ledger(chain), PriceBoard(chain)
    return {
        name: SimulatedVenue(
            name, ledger=ledger, board=board, market=market, settings=settings, rng=rng
        )
        for name in FEE_RATES
    }


def _decimal(factor: float) -> Decimal:
    return Decimal(repr(factor))


@contextmanager
def _venue_errors() -> Iterator[None]:
    """When the database of the chain is away, so is the venue."""
    try:
        yield
    except (StoreUnavailable, Overloaded) as error:
        raise VenueUnavailable(str(error)) from error
