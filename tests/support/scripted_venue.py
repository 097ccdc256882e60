"""A venue that plays a script instead of having a market."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from order_engine.execution.domain.errors import VenueUnavailable
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import Pair, PairPrice, Quote, VenueName
from order_engine.execution.domain.transaction import Fill, Outcome, Signature, Transaction
from support.builders import NOON, RAYDIUM, a_fill, a_quote, a_transaction


class Hangs:
    """The call never returns."""


Value = TypeVar("Value")

Script = Mapping[str, Sequence[Any]]  # by argument of ScriptedVenue

HANGS = Hangs()
DOWN = VenueUnavailable("the venue is down")


class ScriptedVenue:
    """Each call takes the next entry of its script, of which the last one repeats.

    An entry is what the call returns, an exception that it raises, or HANGS. A fill gets the
    signature that was asked about. A call to `send` reaches the venue even when it raises.
    """

    def __init__(
        self,
        name: VenueName,
        *,
        quotes: Sequence[Quote | Exception | Hangs],
        builds: Sequence[Exception | Hangs | None] = (None,),
        sends: Sequence[Exception | Hangs | None] = (None,),
        outcomes: Sequence[Outcome | Exception | Hangs | None] = (a_fill(),),
        expiries: Sequence[Outcome | Exception | Hangs | None] = (None,),
    ) -> None:
        self.name = name
        self.quotes = list(quotes)
        self.builds = list(builds)
        self.sends = list(sends)
        self.landings = list(outcomes)
        self.expiries = list(expiries)
        self.is_hanging = False
        self.calls: list[str] = []
        self.built: list[tuple[Quote, Decimal]] = []
        self.sent: list[Transaction] = []

    async def quote(self, order: NewOrder, *, now: datetime) -> Quote:
        return await self._play("quote", self.quotes)

    async def prices(self, pairs: Sequence[Pair], *, now: datetime) -> Mapping[Pair, PairPrice]:
        quote = await self._play("prices", self.quotes)
        price = PairPrice(effective_price=quote.effective_price, volume_60s=None)
        return dict.fromkeys(pairs, price)

    async def build(self, order: NewOrder, quote: Quote, *, min_amount_out: Decimal) -> Transaction:
        await self._play("build", self.builds)
        self.built.append((quote, min_amount_out))
        signature = Signature(f"{self.name}-{len(self.built)}")
        return a_transaction(signature=signature, content=signature.encode())

    async def send(self, transaction: Transaction) -> None:
        self.sent.append(transaction)
        await self._play("send", self.sends)

    async def outcomes(self, transactions: Sequence[Transaction]) -> Mapping[Signature, Outcome]:
        found = {}
        for transaction in transactions:
            outcome = await self._answer("outcome", self.landings, transaction.signature)
            if outcome is not None:
                found[transaction.signature] = outcome
        return found

    async def expire(self, transaction: Transaction) -> Outcome | None:
        return await self._answer("expire", self.expiries, transaction.signature)

    async def _answer(
        self, call: str, script: list[Outcome | Exception | Hangs | None], signature: Signature
    ) -> Outcome | None:
        assert signature in {transaction.signature for transaction in self.sent}
        outcome = await self._play(call, script)
        return replace(outcome, signature=signature) if isinstance(outcome, Fill) else outcome

    async def _play(self, call: str, script: list[Value | Exception | Hangs]) -> Value:
        self.calls.append(call)
        entry = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(entry, Hangs):
            self.is_hanging = True
            await asyncio.Event().wait()
            raise AssertionError("a hanging call has returned")
        if isinstance(entry, Exception):
            raise entry
        return entry


def a_venue(**script: Sequence[Any]) -> ScriptedVenue:
    """Raydium, whose quotes do not expire: a test names only the part of the script that matters."""
    quotes = script.pop("quotes", [a_quote(expires_at=NOON + timedelta(days=1))])
    return ScriptedVenue(RAYDIUM, quotes=quotes, **script)
