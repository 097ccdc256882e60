"""The orders in memory, with the rules of the SQL: epochs fence, one intent counts, causes repeat.

`tests/integration/order_worker/test_memory_orders.py` runs the same calls on this and on the real
repository and compares every result.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import psycopg2.errors

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder, NewOrder, Order, Transition
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.domain.transaction import Intent, Signature
from order_engine.execution.orders.moves import FailedAttempt

LEASE_S = 10
CANCELLABLE = {OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING}


@dataclass(slots=True, kw_only=True)
class RecordedIntent:
    intent: Intent
    state: str = "live"


@dataclass(slots=True, kw_only=True)
class Row:
    """One order with its events, intents and failed attempts."""

    order: Order
    next_run_at: datetime
    epoch: int = 0
    owned: bool = False
    leased_until: datetime | None = None
    events: list[OrderEvent] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    intents: list[RecordedIntent] = field(default_factory=list)
    attempts: list[FailedAttempt] = field(default_factory=list)

    @property
    def intent_states(self) -> list[str]:
        return [recorded.state for recorded in self.intents]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one call: `error` is raised before or after it has been committed.

    When `gate` is given, the call waits for it after it has been committed.
    """

    error: Exception | None = None
    committed: bool = False
    gate: asyncio.Event | None = None


class MemoryOrders:
    """An OrderStore. A call named in `faults` meets the fault once."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self.rows: dict[OrderId, Row] = {}
        self.faults: dict[str, Fault] = {}

    async def place(self, order: NewOrder) -> None:
        now = self._now()
        placed = Order(
            id=order.id,
            account_id=order.account_id,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            slippage_tolerance=order.slippage_tolerance,
            min_amount_out=order.min_amount_out,
            status=OrderStatus.PENDING,
            seq=0,
            attempts=0,
            claims=0,
            venue=None,
            executed_price=None,
            amount_out=None,
            tx_hash=None,
            error_code=None,
            error_reason=None,
            created_at=now,
            updated_at=now,
        )
        row = self.rows[order.id] = Row(order=placed, next_run_at=now)
        self._record(row, OrderStatus.PENDING, cause="placed", payload={})

    async def claim(self, order_id: OrderId) -> ClaimedOrder | None:
        async with self._call("claim"):
            row = self.rows.get(order_id)
            return self._claimed(row) if row is not None and self._is_due(row) else None

    async def claim_started(self, *, most: int) -> Sequence[ClaimedOrder]:
        async with self._call("claim_started"):
            started = (row for row in self.rows.values() if row.epoch > 0 and self._is_due(row))
            by_id = sorted(started, key=lambda row: row.order.id)
            return [self._claimed(row) for row in by_id[:most]]

    async def count_waiting(self, *, before: datetime | None, lag_s: float, most: int) -> int:
        async with self._call("count_waiting"):
            return len(self._waiting(before, lag_s)[:most])

    async def claim_waiting(
        self, *, before: datetime | None, lag_s: float, most: int
    ) -> Sequence[ClaimedOrder]:
        async with self._call("claim_waiting"):
            return [self._claimed(row) for row in self._waiting(before, lag_s)[:most]]

    async def move(self, transition: Transition) -> OrderEvent | None:
        async with self._call("move"):
            row = self.rows[transition.order_id]
            if row.epoch == transition.epoch and row.order.status is transition.source:
                return self._moved(row, transition)
            if transition.cause in row.causes:
                return row.events[row.causes.index(transition.cause)]
            return None

    async def record_intent(self, claimed: ClaimedOrder, intent: Intent) -> bool:
        async with self._call("record_intent"):
            row = self.rows[claimed.order.id]
            if row.epoch != claimed.epoch or row.order.status is not OrderStatus.SUBMITTED:
                return False
            if intent.transaction.signature not in self._signatures():
                self._add_intent(row, intent)
            row.order = replace(row.order, venue=intent.venue)
            row.leased_until = self._lease()
            return True

    async def record_failed_attempt(self, attempt: FailedAttempt) -> bool:
        async with self._call("record_failed_attempt"):
            row = self.rows[attempt.order_id]
            if row.epoch != attempt.epoch or row.order.status in FINAL:
                return False
            row.order = replace(row.order, attempts=attempt.attempt)
            row.next_run_at = self._now() + timedelta(seconds=attempt.delay_s)
            row.owned, row.leased_until = False, None
            if attempt.dead_intent is not None:
                row.intents[attempt.dead_intent - 1].state = "dead"
            if attempt.attempt not in (known.attempt for known in row.attempts):
                row.attempts.append(attempt)
            return True

    async def release(self, claimed: ClaimedOrder) -> bool:
        async with self._call("release"):
            row = self.rows[claimed.order.id]
            if row.epoch != claimed.epoch or not row.owned or row.order.status in FINAL:
                return False
            row.owned, row.leased_until = False, None
            row.order = replace(row.order, claims=max(row.order.claims - 1, 0))
            return True

    async def cancel(self, order_id: OrderId) -> bool:
        """True when this call has cancelled the order."""
        row = self.rows[order_id]
        if row.order.status not in CANCELLABLE:
            return False
        row.epoch += 1
        row.owned, row.leased_until = False, None
        self._record(
            row,
            OrderStatus.FAILED,
            cause="cancel",
            payload={"errorCode": "cancelled", "errorReason": "cancelled by the client"},
        )
        row.order = replace(
            row.order, error_code="cancelled", error_reason="cancelled by the client"
        )
        return True

    @asynccontextmanager
    async def _call(self, name: str) -> AsyncIterator[None]:
        fault = self.faults.pop(name, Fault())
        if fault.error is not None and not fault.committed:
            raise fault.error
        yield
        if fault.gate is not None:
            await fault.gate.wait()
        if fault.error is not None:
            raise fault.error

    def _lease(self) -> datetime:
        return self._now() + timedelta(seconds=LEASE_S)

    def _is_due(self, row: Row) -> bool:
        leased = row.leased_until is not None and row.leased_until > self._now()
        return row.order.status not in FINAL and row.next_run_at <= self._now() and not leased

    def _waiting(self, before: datetime | None, lag_s: float) -> list[Row]:
        horizon = (before or self._now()) - timedelta(seconds=lag_s)
        waiting = (
            row
            for row in self.rows.values()
            if row.epoch == 0 and row.order.status not in FINAL and row.order.created_at < horizon
        )
        return sorted(waiting, key=lambda row: (row.order.created_at, row.order.id))

    def _claimed(self, row: Row) -> ClaimedOrder:
        row.epoch += 1
        row.owned, row.leased_until = True, self._lease()
        row.order = replace(row.order, claims=row.order.claims + 1)
        if row.order.status is not OrderStatus.SUBMITTED:
            return ClaimedOrder(order=row.order, epoch=row.epoch)
        counting = [recorded.intent for recorded in row.intents if recorded.state != "dead"]
        return ClaimedOrder(
            order=row.order,
            epoch=row.epoch,
            intent=counting[0] if counting else None,
            intents=len(row.intents),
        )

    def _moved(self, row: Row, move: Transition) -> OrderEvent:
        if move.intent is not None:
            self._add_intent(row, move.intent)
        if move.settles is not None:
            landed = move.target is OrderStatus.CONFIRMED
            row.intents[move.settles - 1].state = "landed" if landed else "dead"
        row.leased_until = None if move.target in FINAL else self._lease()
        row.order = replace(
            row.order,
            claims=0,
            venue=move.venue or row.order.venue,
            executed_price=move.fill.executed_price if move.fill else None,
            amount_out=move.fill.amount_out if move.fill else None,
            tx_hash=move.fill.signature if move.fill else None,
            error_code=move.failure.code if move.failure else None,
            error_reason=str(move.failure) if move.failure else None,
        )
        return self._record(row, move.target, cause=move.cause, payload=move.payload)

    def _signatures(self) -> set[Signature]:
        return {
            recorded.intent.transaction.signature
            for row in self.rows.values()
            for recorded in row.intents
        }

    def _add_intent(self, row: Row, intent: Intent) -> None:
        if {"live", "landed"} & set(row.intent_states):
            raise psycopg2.errors.UniqueViolation("execution_intents_one_that_counts")
        if intent.transaction.signature in self._signatures():
            raise psycopg2.errors.UniqueViolation("execution_intents_signature_key")
        row.intents.append(RecordedIntent(intent=intent))

    def _record(self, row: Row, status: OrderStatus, *, cause: str, payload: object) -> OrderEvent:
        event = OrderEvent(
            order_id=row.order.id,
            seq=row.order.seq + 1,
            status=status,
            occurred_at=self._now(),
            payload=json.loads(json.dumps(payload)),
        )
        row.events.append(event)
        row.causes.append(cause)
        row.order = replace(row.order, status=status, seq=event.seq, updated_at=event.occurred_at)
        return event
