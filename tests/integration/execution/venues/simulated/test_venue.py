"""The simulated venues over a ledger in real PostgreSQL."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

pytest.register_assert_rewrite("integration.execution.venues.venue_contract")

from integration.execution.venues.venue_contract import (  # noqa: E402
    Manner,
    VenueContract,
    a_built,
    an_order,
    calls,
    run,
    the_outcome,
)
from order_engine.execution.domain.errors import (  # noqa: E402
    StoreUnavailable,
    VenueUnavailable,
)
from order_engine.execution.domain.ids import OrderId  # noqa: E402
from order_engine.execution.domain.quote import (  # noqa: E402
    Pair,
    PairPrice,
    VenueName,
    rounded_price,
)
from order_engine.execution.domain.transaction import Fill, Signature  # noqa: E402
from order_engine.execution.stores.group_commit import GroupCommit  # noqa: E402
from order_engine.execution.venues.simulated.board import PostedPrice, PriceBoard  # noqa: E402
from order_engine.execution.venues.simulated.chain import Ledger  # noqa: E402
from order_engine.execution.venues.simulated.market import (  # noqa: E402
    SimulatedMarket,
    base_price,
)
from order_engine.execution.venues.simulated.venue import (  # noqa: E402
    METEORA,
    RAYDIUM,
    SimulatedVenue,
    SimulationSettings,
    simulated_venues,
)
from support.builders import NOON  # noqa: E402
from support.evidence import rows  # noqa: E402
from support.serving import a_closed_port  # noqa: E402
from support.stores import Databases, Stores, fresh_databases  # noqa: E402

SIMULATIONS = {
    Manner.FILLS: SimulationSettings(),
    Manner.FILLS_LATE: SimulationSettings(execution_min_s=60.0, execution_max_s=60.0),
    Manner.NEVER_LANDS: SimulationSettings(never_lands_share=1.0),
    Manner.REJECTS: SimulationSettings(rejection_share=1.0),
    Manner.REFUSES_CALLS: SimulationSettings(call_failure_share=1.0),
    Manner.LOSES_REPLIES: SimulationSettings(lost_reply_share=1.0),
}

STANDING_MARKET = SimulatedMarket()
MOVING_MARKET = SimulatedMarket(seed=7, volatility=Decimal("0.02"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStage:
    """The stage of the contract: one of the two venues over the ledger of this module."""

    name: VenueName
    chain: GroupCommit
    chain_url: str

    def venue(self, manner: Manner = Manner.FILLS, *, validity_s: float = 120.0) -> SimulatedVenue:
        # no seed, so that a second random outcome for the same bytes would differ
        settings = replace(SIMULATIONS[manner], validity_s=validity_s, price_drift_max=0.001)
        return self.simulation(settings, seed=None)

    def simulation(
        self,
        settings: SimulationSettings,
        *,
        seed: int | None = 1,
        market: SimulatedMarket = STANDING_MARKET,
    ) -> SimulatedVenue:
        rng = random.Random(seed)
        return simulated_venues(self.chain, settings, market=market, rng=rng)[self.name]

    def recorded(self, order_id: OrderId) -> int:
        return len(self.entries(order_id))

    def filled(self, order_id: OrderId) -> int:
        return sum(entry["outcome"] == "filled" for entry in self.entries(order_id))

    def entries(self, order_id: OrderId) -> list[dict[str, Any]]:
        sql = "SELECT * FROM chain.transactions WHERE order_id = %s"
        return rows(self.chain_url, sql, [str(order_id)])

    def clock(self) -> datetime:
        [row] = rows(self.chain_url, "SELECT clock_timestamp() AS now")
        now: datetime = row["now"]
        return now


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    """One chain for all tests here; each uses orders of its own."""
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def chain(databases: Databases) -> Iterator[GroupCommit]:
    commits = GroupCommit(databases.chain_url, application_name="test-chain")
    yield commits
    commits.close()


@pytest.fixture(params=[RAYDIUM, METEORA])
def stage(request: pytest.FixtureRequest, chain: GroupCommit, databases: Databases) -> ChainStage:
    return ChainStage(name=request.param, chain=chain, chain_url=databases.chain_url)


class TestSimulatedVenues(VenueContract):
    """The simulated venues pass the contract."""


# Quotes


def test_the_effective_price_is_the_price_less_the_fee_of_the_venue(stage: ChainStage) -> None:
    async def work() -> None:
        order = an_order(amount_in=Decimal("100.000000000000000001"))
        quote = await stage.simulation(SimulationSettings(quote_lifetime_s=7)).quote(
            order, now=NOON
        )

        assert (
            quote.fee_rate == {RAYDIUM: Decimal("0.0025"), METEORA: Decimal("0.0030")}[stage.name]
        )
        assert quote.effective_price == rounded_price(quote.price * (1 - quote.fee_rate))
        assert quote.expires_at == NOON + timedelta(seconds=7)

    run(work())


def test_a_price_is_two_to_five_percent_off_the_base_either_way(stage: ChainStage) -> None:
    async def work() -> None:
        venue, order = stage.simulation(SimulationSettings()), an_order()
        quotes = [await venue.quote(order, now=NOON) for _ in range(400)]
        base = base_price(order.pair)
        variances = [float(quote.price / base - 1) for quote in quotes]

        assert all(0.02 - 1e-7 <= abs(variance) <= 0.05 + 1e-7 for variance in variances)
        assert min(variances) < -0.049
        assert max(variances) > 0.049
        assert min(abs(variance) for variance in variances) < 0.021

    run(work())


def test_a_seed_makes_the_simulation_repeatable(stage: ChainStage) -> None:
    async def work() -> None:
        order = an_order()
        first, second = (
            stage.simulation(SimulationSettings(), seed=7),
            stage.simulation(SimulationSettings(), seed=7),
        )

        assert [await first.quote(order, now=NOON) for _ in range(5)] == [
            await second.quote(order, now=NOON) for _ in range(5)
        ]

    run(work())


# The market and its price board


def test_the_price_of_a_moving_market_is_the_same_for_a_second_in_every_process(
    stage: ChainStage,
) -> None:
    async def work() -> None:
        order, at = an_order(), NOON
        first, second = (
            stage.simulation(SimulationSettings(), seed=seed, market=MOVING_MARKET)
            for seed in (1, 2)
        )
        quotes = [await venue.quote(order, now=at) for venue in (first, second)]
        [price] = (await second.prices([order.pair], now=at)).values()
        later = await first.quote(order, now=at + timedelta(minutes=5))

        assert quotes[0].price == quotes[1].price
        assert price.effective_price == quotes[0].effective_price
        assert later.price != quotes[0].price

    run(work())


def test_a_price_on_the_board_is_quoted_exactly_until_it_is_cleared(stage: ChainStage) -> None:
    settings = SimulationSettings(price_board=True)
    order = replace(an_order(), token_in=f"TOKEN-{stage.name}")

    async def work() -> None:
        board = PriceBoard(stage.chain)
        venue = stage.simulation(settings, market=MOVING_MARKET)
        await board.post(order.pair, PostedPrice(price=Decimal("1.6"), volume_60s=Decimal(5)))
        await board.post(order.pair, PostedPrice(price=Decimal("1.7"), volume_60s=Decimal(9)))
        quote = await venue.quote(order, now=NOON)
        found = await venue.prices([order.pair, Pair("SOL", "USDC")], now=NOON)
        others = await stage.simulation(SimulationSettings()).quote(order, now=NOON)

        assert quote.price == Decimal("1.7")
        assert found[order.pair] == PairPrice(
            effective_price=quote.effective_price, volume_60s=Decimal(9)
        )
        assert len(found) == 2
        assert others.price != Decimal("1.7")
        assert await board.clear(order.pair)
        assert not await board.clear(order.pair)
        assert (await venue.quote(order, now=NOON)).price != Decimal("1.7")

    run(work())


# Landing


def test_the_price_falls_by_no_more_than_the_drift_setting(stage: ChainStage) -> None:
    async def work() -> None:
        venue, order = stage.simulation(SimulationSettings(price_drift_max=0.001)), an_order()
        quote = await venue.quote(order, now=NOON)
        prices = []
        for _ in range(50):
            built = await venue.build(order, quote, min_amount_out=Decimal(0))
            await venue.send(built)
            fill = await the_outcome(venue, built)
            assert isinstance(fill, Fill)
            assert fill.amount_out == order.amount_in * fill.executed_price
            prices.append(fill.executed_price)

        worst = rounded_price(quote.effective_price * Decimal("0.999"))
        assert all(worst <= price <= quote.effective_price for price in prices)
        assert len(set(prices)) > 40

    run(work())


def test_a_drift_within_the_tolerance_fills_and_one_beyond_it_is_slippage(
    stage: ChainStage,
) -> None:
    async def work() -> None:
        venue, order = stage.simulation(SimulationSettings(price_drift_max=0.001)), an_order()
        quote = await venue.quote(order, now=NOON)
        outcomes = {}
        for tolerance in (Decimal("0.1"), Decimal(0)):
            least = quote.min_amount_out(slippage_percent=tolerance, client_minimum=None)
            built = await venue.build(order, quote, min_amount_out=least)
            await venue.send(built)
            outcomes[tolerance] = type(await the_outcome(venue, built)).__name__

        assert outcomes == {Decimal("0.1"): "Fill", Decimal(0): "Rejection"}

    run(work())


def test_the_largest_amount_lands_to_the_last_digit(stage: ChainStage) -> None:
    async def work() -> None:
        venue = stage.simulation(SimulationSettings())
        order = an_order(amount_in=Decimal("99999999999999999999.999999999999999999"))
        quote = await venue.quote(order, now=NOON)
        built = await venue.build(order, quote, min_amount_out=quote.amount_out)
        await venue.send(built)
        fill = await the_outcome(venue, built)

        assert isinstance(fill, Fill)
        assert fill.amount_out == quote.amount_out

    run(work())


def test_the_ledger_records_the_order_and_the_venue_of_a_transaction(stage: ChainStage) -> None:
    async def work() -> None:
        venue, order = (
            stage.simulation(SimulationSettings(execution_min_s=5, execution_max_s=6)),
            an_order(),
        )
        built = await a_built(venue, order)
        await venue.send(built)
        [entry] = stage.entries(order.id)

        assert entry["signature"] == built.signature
        assert entry["venue"] == stage.name
        assert entry["valid_until"] == built.valid_until
        assert timedelta(seconds=5) <= entry["lands_at"] - entry["sent_at"] <= timedelta(seconds=6)

    run(work())


@pytest.mark.parametrize(
    ("outcome", "share"), [("never_lands", 0.3), ("rejected", 0.2), ("filled", 0.5)]
)
def test_outcomes_have_the_shares_of_the_settings(
    stage: ChainStage, outcome: str, share: float
) -> None:
    async def work() -> None:
        venue = stage.simulation(
            SimulationSettings(never_lands_share=0.3, rejection_share=0.2), seed=3
        )
        order = an_order()
        built = await asyncio.gather(*(a_built(venue, order) for _ in range(300)))
        await asyncio.gather(*(venue.send(each) for each in built))
        outcomes = [entry["outcome"] for entry in stage.entries(order.id)]

        assert outcomes.count(outcome) / 300 == pytest.approx(share, abs=0.1)

    run(work())


# The chain away


def test_a_chain_that_is_away_makes_the_venue_unavailable(stage: ChainStage) -> None:
    async def work(chain_url: str) -> None:
        commits = GroupCommit(chain_url, application_name="test-chain", deadline_s=0.1)
        venue = replace(stage, chain=commits).simulation(SimulationSettings())
        order, built = an_order(), await a_built(stage.venue(), an_order())
        quote, prices, *others = calls(venue, order, built)
        offer = await quote(), await prices()  # ask no chain
        for call in others:
            with pytest.raises(VenueUnavailable):
                await call()
        with pytest.raises(VenueUnavailable):
            await a_built(venue, order)
        commits.close()

        assert all(offer)

    with a_closed_port() as port:
        run(work(f"postgresql://nobody@127.0.0.1:{port}/chain"))


def test_equal_calls_at_once_are_not_refused_one_after_the_other() -> None:
    async def work(chain_url: str) -> None:
        with closing(
            GroupCommit(chain_url, application_name="test-chain", deadline_s=0.2)
        ) as commits:
            ask = Ledger(commits).outcomes
            async with asyncio.timeout(2):  # the first alone, then all others together
                answers = await asyncio.gather(
                    *(ask([Signature("0xfeed")]) for _ in range(20)), return_exceptions=True
                )

            assert [type(answer) for answer in answers] == [StoreUnavailable] * 20

    with a_closed_port() as port:
        run(work(f"postgresql://nobody@127.0.0.1:{port}/chain"))
