from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import Pair, PairPrice, Quote, VenueName
from order_engine.execution.domain.transaction import Outcome, Signature, Transaction


class Venue(Protocol):
    """What the engine needs of a venue.

    Every call may raise VenueUnavailable, after which it may or may not have taken effect. All
    venues pass one contract suite, `tests/integration/execution/venues/venue_contract.py`.
    """

    @property
    def name(self) -> VenueName: ...

    async def prices(self, pairs: Sequence[Pair], *, now: datetime) -> Mapping[Pair, PairPrice]:
        """What the venue pays now for each pair that it trades."""
        ...

    async def quote(self, order: NewOrder, *, now: datetime) -> Quote:
        """The venue's offer for the swap; its lifetime starts at `now`."""
        ...

    async def build(self, order: NewOrder, quote: Quote, *, min_amount_out: Decimal) -> Transaction:
        """A signed transaction that differs from every other; nothing is sent."""
        ...

    async def send(self, transaction: Transaction) -> None:
        """Sends it. Sending the same bytes again has no further effect."""
        ...

    async def outcomes(self, transactions: Sequence[Transaction]) -> Mapping[Signature, Outcome]:
        """The outcomes of those that have one; the others may still land."""
        ...

    async def expire(self, transaction: Transaction) -> Outcome | None:
        """Has the venue commit that an overdue transaction never lands; None before `valid_until`.

        A transaction that has landed keeps its outcome, which is returned.
        """
        ...
