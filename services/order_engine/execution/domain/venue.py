from datetime import datetime
from decimal import Decimal
from typing import Protocol

from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.transaction import Outcome, Signature, Transaction


class Venue(Protocol):
    """What the engine asks of a venue.

    Every call may raise VenueUnavailable, after which it may have happened or not. All venues pass
    one contract suite, `tests/integration/execution/venues/venue_contract.py`.
    """

    @property
    def name(self) -> VenueName: ...

    async def quote(self, order: NewOrder, *, now: datetime) -> Quote:
        """What it offers for the swap; `now` starts the quote's lifetime."""
        ...

    async def build(self, order: NewOrder, quote: Quote, *, min_amount_out: Decimal) -> Transaction:
        """A signed transaction, unlike any built before; nothing is sent."""
        ...

    async def send(self, transaction: Transaction) -> None:
        """Hand it over. The same bytes again change nothing."""
        ...

    async def outcome(self, signature: Signature) -> Outcome | None:
        """What became of it; None while it may still land."""
        ...

    async def expire(self, transaction: Transaction) -> Outcome | None:
        """Have the venue rule that an overdue transaction never lands; None before `valid_until`."""
        ...
