"""Waits for the outcomes of sent transactions: the orders of a process share the questions to a venue."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from order_engine.execution import metrics
from order_engine.execution.domain.errors import VenueUnavailable
from order_engine.execution.domain.transaction import Outcome, Transaction
from order_engine.execution.domain.venue import Venue

FAILED_POLLS_MAX = 5


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    transaction: Transaction
    answer: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    failed_polls: int = 0  # in a row

    def settle(self, outcome: Outcome | None) -> None:
        self.failed_polls = 0
        if outcome is not None and not self.answer.done():
            self.answer.set_result(outcome)

    def count_failure(self, error: VenueUnavailable) -> None:
        self.failed_polls += 1
        if self.failed_polls >= FAILED_POLLS_MAX:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Outcomes:
    """Asks one venue every `poll_s` for the outcomes of all transactions that have none yet."""

    def __init__(self, venue: Venue, *, poll_s: float, now: Callable[[], datetime]) -> None:
        self._venue = venue
        self._poll_s = poll_s
        self._now = now
        self._waiting: set[_Waiting] = set()
        self._polling: asyncio.Task[None] | None = None

    async def of(self, transaction: Transaction) -> Outcome:
        """The outcome, once there is one; an overdue transaction is expired.

        Raises VenueUnavailable when FAILED_POLLS_MAX questions in a row have failed.
        """
        waiting = _Waiting(transaction=transaction)
        await self._ask([waiting])  # it may have landed long ago
        if not waiting.answer.done():
            self._waiting.add(waiting)
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())
        try:
            return await waiting.answer
        finally:
            self._waiting.discard(waiting)

    async def _poll(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._poll_s)
                if asked := list(self._waiting):
                    await self._ask(asked)
        except Exception as error:
            for waiting in self._waiting:
                waiting.fail(error)
        finally:
            self._polling = None

    async def _ask(self, asked: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._venue.outcomes([waiting.transaction for waiting in asked])
        except VenueUnavailable as error:
            self._count_error()
            for waiting in asked:
                waiting.count_failure(error)
            return
        except Exception as error:
            await self._ask_one_by_one(asked, error)
            return
        now = self._now()
        overdue = []
        for waiting in asked:
            outcome = outcomes.get(waiting.transaction.signature)
            if outcome is None and now >= waiting.transaction.valid_until:
                overdue.append(waiting)
            else:
                waiting.settle(outcome)
        await asyncio.gather(*map(self._expire, overdue))

    async def _ask_one_by_one(self, asked: Sequence[_Waiting], error: Exception) -> None:
        """After an unexpected error, so that it ends only the order that causes it."""
        if len(asked) == 1:
            asked[0].fail(error)
            return
        for waiting in asked:
            await self._ask([waiting])

    async def _expire(self, waiting: _Waiting) -> None:
        try:
            waiting.settle(await self._venue.expire(waiting.transaction))
        except VenueUnavailable as error:
            self._count_error()
            waiting.count_failure(error)

    def _count_error(self) -> None:
        metrics.VENUE_ERRORS.labels(venue=self._venue.name, call="settle").inc()
