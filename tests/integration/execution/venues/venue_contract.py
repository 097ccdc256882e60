"""The contract of every venue, simulated or real.

The test module of a venue subclasses VenueContract and supplies the fixture `stage`, which makes
venues that behave as the tests need. It also tests what the contract leaves open: fees and prices.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Protocol

import pytest

from order_engine.execution.domain.errors import VenueUnavailable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import Pair, rounded_amount, rounded_price
from order_engine.execution.domain.transaction import Expiry, Fill, Outcome, Rejection, Transaction
from order_engine.execution.domain.venue import Venue
from support.builders import NOON, a_new_order
from support.waiting import CHECK_EVERY_S

WITHIN_S = 20
AT_ONCE = 10


class Manner(Enum):
    """How a venue of the stage behaves."""

    FILLS = auto()  # everything lands at once
    FILLS_LATE = auto()  # everything lands long after the test has ended
    NEVER_LANDS = auto()  # accepts transactions and loses them
    REJECTS = auto()  # everything lands, nothing is swapped
    REFUSES_CALLS = auto()  # fails before it has acted
    LOSES_REPLIES = auto()  # fails after it has acted


class Stage(Protocol):
    """Makes venues of one name over one ledger."""

    def venue(self, manner: Manner = Manner.FILLS, *, validity_s: float = 120.0) -> Venue: ...

    def recorded(self, order_id: OrderId) -> int:
        """The number of transactions of an order in the ledger, with any outcome."""
        ...

    def filled(self, order_id: OrderId) -> int:
        """The number of those that are filled, landed or not."""
        ...

    def clock(self) -> datetime:
        """The time of the ledger, by which `valid_until` is decided."""
        ...


class VenueContract:
    # Quotes

    def test_a_quote_names_its_venue_and_the_amount_of_the_order(self, stage: Stage) -> None:
        async def work() -> None:
            venue = stage.venue()
            order = an_order(amount_in=Decimal("1.50"))
            quote = await venue.quote(order, now=NOON)

            assert quote.venue == venue.name
            assert str(quote.amount_in) == "1.50"
            assert quote.expires_at > NOON
            assert quote.price > 0
            assert 0 <= quote.fee_rate < 1

        run(work())

    def test_the_price_of_a_pair_is_positive_and_after_the_fee(self, stage: Stage) -> None:
        async def work() -> None:
            venue, pairs = stage.venue(), [Pair("SOL", "USDC"), Pair("USDC", "SOL")]
            found = await venue.prices(pairs, now=NOON)

            assert list(found) == pairs
            for price in found.values():
                assert price.effective_price == rounded_price(price.effective_price) > 0
                assert price.volume_60s is None or price.volume_60s >= 0
            assert await venue.prices([], now=NOON) == {}

        run(work())

    # Building

    def test_built_transactions_are_unique_and_are_not_sent(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(), an_order()
            built = await asyncio.gather(*(a_built(venue, order) for _ in range(AT_ONCE)))

            assert len({each.signature for each in built}) == AT_ONCE
            assert len({each.content for each in built}) == AT_ONCE
            assert await venue.outcomes(built) == {}
            assert stage.recorded(order.id) == 0

        run(work())

    def test_valid_until_counts_from_now_by_the_ledgers_clock(self, stage: Stage) -> None:
        async def work() -> None:
            before = stage.clock()
            built = await a_built(stage.venue(validity_s=60.0), an_order())
            after = stage.clock()

            assert before <= built.valid_until - timedelta(seconds=60) <= after

        run(work())

    # Landing

    def test_a_sent_transaction_is_filled_as_it_was_built(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(), an_order()
            quote = await venue.quote(order, now=NOON)
            built = await venue.build(order, quote, min_amount_out=quote.amount_out / 2)
            await venue.send(built)
            fill = await the_outcome(venue, built)

            assert isinstance(fill, Fill)
            assert fill.signature == built.signature
            assert fill.amount_out >= quote.amount_out / 2
            assert fill.amount_out == rounded_amount(order.amount_in * fill.executed_price)
            assert stage.filled(order.id) == 1

        run(work())

    def test_the_same_bytes_again_change_nothing(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(), an_order()
            built = await a_built(venue, order)
            await venue.send(built)
            fill = await the_outcome(venue, built)
            for manner in (Manner.FILLS, Manner.FILLS_LATE, Manner.NEVER_LANDS, Manner.REJECTS):
                await stage.venue(manner).send(built)

            assert isinstance(fill, Fill)
            assert await outcome_of(venue, built) == fill
            assert stage.recorded(order.id) == 1

        run(work())

    def test_the_same_bytes_sent_concurrently_are_one_transaction(self, stage: Stage) -> None:
        async def work() -> None:
            venues, order = [stage.venue() for _ in range(AT_ONCE)], an_order()
            built = await a_built(venues[0], order)
            await asyncio.gather(*(venue.send(built) for venue in venues * 3))
            fills = {await the_outcome(venue, built) for venue in venues}

            assert len(fills) == 1
            assert stage.recorded(order.id) == stage.filled(order.id) == 1

        run(work())

    def test_two_transactions_of_one_order_are_both_filled(self, stage: Stage) -> None:
        """A venue does not know orders; the engine prevents a second fill."""

        async def work() -> None:
            venue, order = stage.venue(), an_order()
            for built in [await a_built(venue, order) for _ in range(2)]:
                await venue.send(built)
                assert isinstance(await the_outcome(venue, built), Fill)

            assert stage.filled(order.id) == 2

        run(work())

    def test_the_outcome_is_unknown_until_it_lands(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(Manner.FILLS_LATE), an_order()
            built = await a_built(venue, order)
            await venue.send(built)

            assert (
                stage.filled(order.id) == 1
            )  # it will be filled, but the outcome is not known yet
            assert await outcome_of(venue, built) is None
            assert await venue.expire(built) is None

        run(work())

    def test_a_swap_that_pays_less_than_its_minimum_is_rejected(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(), an_order()
            quote = await venue.quote(order, now=NOON)
            built = await venue.build(order, quote, min_amount_out=quote.amount_out * 2)
            await venue.send(built)
            rejection = await the_outcome(venue, built)

            assert isinstance(rejection, Rejection)
            assert rejection.slippage_exceeded
            assert stage.filled(order.id) == 0

        run(work())

    def test_a_rejection_for_another_reason_is_not_called_slippage(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(Manner.REJECTS), an_order()
            built = await a_built(venue, order)
            await venue.send(built)
            rejection = await the_outcome(venue, built)

            assert isinstance(rejection, Rejection)
            assert not rejection.slippage_exceeded
            assert rejection.reason
            assert stage.filled(order.id) == 0

        run(work())

    # Expiry

    @pytest.mark.parametrize("sent", [False, True])
    def test_a_transaction_does_not_expire_before_valid_until(
        self, stage: Stage, sent: bool
    ) -> None:
        async def work() -> None:
            venue, order = stage.venue(Manner.NEVER_LANDS), an_order()
            built = await a_built(venue, order)
            if sent:
                await venue.send(built)
            before = stage.recorded(order.id)

            assert await venue.expire(built) is None
            assert await outcome_of(venue, built) is None
            assert stage.recorded(order.id) == before

        run(work())

    def test_a_transaction_that_never_lands_has_no_outcome_until_it_expires(
        self, stage: Stage
    ) -> None:
        async def work() -> None:
            venue, order = stage.venue(Manner.NEVER_LANDS, validity_s=0.2), an_order()
            built = await a_built(venue, order)
            await venue.send(built)
            await overdue(stage, built)

            assert await outcome_of(venue, built) is None
            assert await venue.expire(built) == Expiry()
            assert await outcome_of(venue, built) == Expiry()
            assert await venue.expire(built) == Expiry()
            assert stage.filled(order.id) == 0

        run(work())

    def test_a_transaction_that_was_never_sent_expires(self, stage: Stage) -> None:
        async def work() -> None:
            venue = stage.venue(validity_s=0.2)
            built = await a_built(venue, an_order())
            await overdue(stage, built)

            assert await venue.expire(built) == Expiry()
            assert await outcome_of(venue, built) == Expiry()

        run(work())

    @pytest.mark.parametrize("sent_before", [False, True])
    def test_sending_an_expired_transaction_does_nothing(
        self, stage: Stage, sent_before: bool
    ) -> None:
        async def work() -> None:
            order, lossy = an_order(), stage.venue(Manner.NEVER_LANDS, validity_s=0.2)
            built = await a_built(lossy, order)
            if sent_before:
                await lossy.send(built)
            await overdue(stage, built)
            await lossy.expire(built)
            venue = stage.venue(Manner.FILLS)
            await venue.send(built)

            assert await outcome_of(venue, built) == Expiry()
            assert stage.recorded(order.id) == 1
            assert stage.filled(order.id) == 0

        run(work())

    @pytest.mark.parametrize("manner", [Manner.FILLS, Manner.FILLS_LATE])
    def test_a_transaction_that_would_land_after_valid_until_never_lands(
        self, stage: Stage, manner: Manner
    ) -> None:
        async def work() -> None:
            venue, order = stage.venue(manner, validity_s=0.2), an_order()
            built = await a_built(venue, order)
            if manner is Manner.FILLS:  # lands at once, so it must be sent too late
                await overdue(stage, built)
            await venue.send(built)
            await overdue(stage, built)

            assert await outcome_of(venue, built) is None
            assert await venue.expire(built) == Expiry()
            assert stage.filled(order.id) == 0

        run(work())

    def test_a_landed_transaction_never_expires(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(validity_s=1.5), an_order()
            built = await a_built(venue, order)
            await venue.send(built)
            fill = await the_outcome(venue, built)
            in_time = await venue.expire(built)
            await overdue(stage, built)

            assert isinstance(fill, Fill)
            assert in_time == fill
            assert await venue.expire(built) == fill
            assert stage.filled(order.id) == 1

        run(work())

    def test_a_rejected_transaction_stays_rejected(self, stage: Stage) -> None:
        async def work() -> None:
            venue = stage.venue(Manner.REJECTS, validity_s=1.5)
            built = await a_built(venue, an_order())
            await venue.send(built)
            rejection = await the_outcome(venue, built)
            await overdue(stage, built)

            assert isinstance(rejection, Rejection)
            assert await venue.expire(built) == rejection

        run(work())

    def test_sending_and_expiring_concurrently_never_fills(self, stage: Stage) -> None:
        async def work() -> None:
            venues = [stage.venue(validity_s=0.2) for _ in range(2)]
            orders = [an_order() for _ in range(AT_ONCE)]
            built = [await a_built(venues[0], order) for order in orders]
            await overdue(stage, built[-1])
            await asyncio.gather(
                *(venues[0].send(each) for each in built),
                *(venues[1].expire(each) for each in built),
            )

            for each in built:
                assert await venues[0].expire(each) == Expiry()
            assert [stage.filled(order.id) for order in orders] == [0] * AT_ONCE

        run(work())

    # Failures

    def test_a_refused_call_has_no_effect(self, stage: Stage) -> None:
        async def work() -> None:
            order, refusing = an_order(), stage.venue(Manner.REFUSES_CALLS)
            built = await a_built(stage.venue(validity_s=0.2), order)
            await overdue(stage, built)
            for call in calls(refusing, order, built):
                with pytest.raises(VenueUnavailable):
                    await call()

            assert stage.recorded(order.id) == 0

        run(work())

    def test_a_send_with_a_lost_reply_has_taken_effect(self, stage: Stage) -> None:
        async def work() -> None:
            venue, order = stage.venue(), an_order()
            built = await a_built(venue, order)
            with pytest.raises(VenueUnavailable):
                await stage.venue(Manner.LOSES_REPLIES).send(built)

            assert isinstance(await the_outcome(venue, built), Fill)
            assert stage.recorded(order.id) == 1

        run(work())

    def test_an_expiry_with_a_lost_reply_is_committed(self, stage: Stage) -> None:
        async def work() -> None:
            venue = stage.venue(validity_s=0.2)
            built = await a_built(venue, an_order())
            await overdue(stage, built)
            with pytest.raises(VenueUnavailable):
                await stage.venue(Manner.LOSES_REPLIES).expire(built)

            assert await outcome_of(venue, built) == Expiry()

        run(work())


def run(work: Awaitable[None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(WITHIN_S):
            await work

    asyncio.run(in_time())


def an_order(amount_in: Decimal = Decimal(100)) -> NewOrder:
    """An order that no other test uses."""
    return a_new_order(id=OrderId(uuid.uuid4()), amount_in=amount_in)


async def a_built(venue: Venue, order: NewOrder) -> Transaction:
    quote = await venue.quote(order, now=datetime.now(UTC))  # noqa: TID251 - a test's own clock
    return await venue.build(order, quote, min_amount_out=Decimal(0))


async def outcome_of(venue: Venue, transaction: Transaction) -> Outcome | None:
    return (await venue.outcomes([transaction])).get(transaction.signature)


async def the_outcome(venue: Venue, transaction: Transaction) -> Outcome:
    """The outcome of the transaction; the deadline of the test ends the wait."""
    while (outcome := await outcome_of(venue, transaction)) is None:
        await asyncio.sleep(CHECK_EVERY_S)
    return outcome


async def overdue(stage: Stage, transaction: Transaction) -> None:
    """Waits until the clock of the ledger has passed `valid_until`."""
    while stage.clock() <= transaction.valid_until:
        await asyncio.sleep(CHECK_EVERY_S)


def calls(
    venue: Venue, order: NewOrder, transaction: Transaction
) -> list[Callable[[], Awaitable[object]]]:
    """Every call of a venue except `build`, which needs a quote first."""
    return [
        lambda: venue.quote(order, now=NOON),
        lambda: venue.prices([order.pair], now=NOON),
        lambda: venue.send(transaction),
        lambda: venue.outcomes([transaction]),
        lambda: venue.expire(transaction),
    ]
