"""Checks the promises P1 to P3 against the history of a finished run.

A history is collected after a run has ended: acknowledged POSTs and frames from the clients,
orders, events and intents from PostgreSQL, and the ledger from the simulated chain. The checks
assume that an order has at most one row.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal
from uuid import UUID

from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus

Promise = Literal["P1", "P2", "P3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    order_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOrder:
    order_id: UUID
    status: OrderStatus
    seq: int
    tx_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    order_id: UUID
    seq: int
    status: OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedIntent:
    order_id: UUID
    n: int
    signature: str
    state: Literal["live", "landed", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The first send fixes the outcome, so `filled` counts as a fill before it has landed."""

    order_id: UUID
    signature: str
    outcome: Literal["filled", "rejected", "never_lands", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    seq: int
    status: OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLog:
    client: str
    order_id: UUID
    frames: tuple[Frame, ...]  # all frames received, from after=0 and across reconnects


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    acknowledged: tuple[Acknowledged, ...]
    orders: tuple[RecordedOrder, ...]
    events: tuple[RecordedEvent, ...]
    ledger: tuple[LedgerEntry, ...]
    clients: tuple[ClientLog, ...]
    intents: tuple[RecordedIntent, ...] | None = None  # None: not read


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Violation:
    promise: Promise
    order_id: UUID
    sentence: str


def violations(history: History) -> list[Violation]:
    """All violations, sorted."""
    return sorted(
        Violation(promise=promise, order_id=order_id, sentence=sentence)
        for order_id, order in _records_by_order(history).items()
        for promise, rules in RULES.items()
        for rule in rules
        for sentence in rule(order)
    )


@dataclass(slots=True, kw_only=True)
class _OrderRecords:
    intents_read: bool
    acknowledged: bool = False
    row: RecordedOrder | None = None
    events: list[RecordedEvent] = field(default_factory=list)  # by seq
    fills: list[str] = field(default_factory=list)  # signatures
    intents: list[str] = field(default_factory=list)  # state and signature, without dead intents
    clients: list[ClientLog] = field(default_factory=list)


def _records_by_order(history: History) -> Mapping[UUID, _OrderRecords]:
    """The records of each order."""
    by_order = defaultdict[UUID, _OrderRecords](
        lambda: _OrderRecords(intents_read=history.intents is not None)
    )
    for post in history.acknowledged:
        by_order[post.order_id].acknowledged = True
    for order in history.orders:
        by_order[order.order_id].row = order
    for event in sorted(history.events, key=lambda event: (event.seq, event.status)):
        by_order[event.order_id].events.append(event)
    for entry in history.ledger:
        if entry.outcome == "filled":
            by_order[entry.order_id].fills.append(entry.signature)
    for intent in history.intents or ():
        if intent.state != "dead":
            by_order[intent.order_id].intents.append(f"{intent.state} {intent.signature}")
    for log in history.clients:
        by_order[log.order_id].clients.append(log)
    return by_order


def _acknowledged_orders_are_kept(order: _OrderRecords) -> Iterator[str]:
    if order.acknowledged and order.row is None:
        yield "it was acknowledged, but has no row"


def _orders_end(order: _OrderRecords) -> Iterator[str]:
    if order.row and order.row.status not in FINAL:
        yield f"it never ended: its row is {order.row.status}"


def _fills_and_intents_match_the_row(order: _OrderRecords) -> Iterator[str]:
    """One fill and intent when confirmed, none when failed or unknown, else at most one of each."""
    status, tx_hash = (order.row.status, order.row.tx_hash) if order.row else (None, None)
    proofs = [("fills", order.fills, tx_hash), ("open intents", order.intents, f"landed {tx_hash}")]
    for kind, found, proof in proofs if order.intents_read else proofs[:1]:
        required = {OrderStatus.CONFIRMED: [proof], OrderStatus.FAILED: [], None: []}
        if found != (expected := required.get(status, found[:1])):
            difference = f"its {kind} are {_listed(found)} instead of {_listed(expected)}"
            yield f"it is {status or 'unknown'}, but {difference}"


def _events_are_in_sequence(order: _OrderRecords) -> Iterator[str]:
    seqs = [event.seq for event in order.events]
    yield from (f"event {fault}" for fault in _sequence_faults(seqs, last=max(seqs, default=0)))


def _transitions_are_allowed(order: _OrderRecords) -> Iterator[str]:
    statuses = {event.seq: event.status for event in order.events}
    for seq, target in statuses.items():
        source = statuses.get(seq - 1)
        allowed = TRANSITIONS[source] if source else {OrderStatus.PENDING}
        # after a gap, the source is unknown and any transition may be allowed
        if (source or seq == 1) and target not in allowed:
            yield f"event {seq} moves it from {source or 'nothing'} to {target}"


def _row_matches_the_last_event(order: _OrderRecords) -> Iterator[str]:
    last = order.events[-1] if order.events else None
    row, event = (f"{at.seq} {at.status}" if at else "nothing" for at in (order.row, last))
    if row != event:
        yield f"its row is {row}, its last event is {event}"


def _frames_match_events(order: _OrderRecords) -> Iterator[str]:
    events = {event.seq: event.status for event in order.events}
    for log in order.clients:
        seqs = [frame.seq for frame in log.frames]
        for fault in _sequence_faults(seqs, last=max(events, default=0)):
            yield f"client {log.client}: frame {fault}"
        for seq, status in dict.fromkeys((frame.seq, frame.status) for frame in log.frames):
            if status != events.get(seq, status):
                yield f"client {log.client}: frame {seq} is {status}, its event is {events[seq]}"


def _sequence_faults(seqs: list[int], *, last: int) -> Iterator[str]:
    expected, given = range(1, last + 1), dict.fromkeys(seqs)
    known = [seq for seq in given if seq in expected]
    yield from (f"{seq} is missing" for seq in expected if seq not in given)
    yield from (f"{seq} is repeated" for seq in given if seqs.count(seq) > 1)
    yield from (f"{late} is out of order" for early, late in pairwise(known) if late < early)
    yield from (
        f"{seq} is foreign: the last event is {last}" for seq in given if seq not in expected
    )


def _listed(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items))) or "none"


# TRANSITIONS has no transition from a final status, so the last event needs no rule.
RULES: Mapping[Promise, tuple[Callable[[_OrderRecords], Iterator[str]], ...]] = {
    "P1": (_acknowledged_orders_are_kept, _orders_end),
    "P2": (_fills_and_intents_match_the_row,),
    "P3": (
        _events_are_in_sequence,
        _transitions_are_allowed,
        _row_matches_the_last_event,
        _frames_match_events,
    ),
}
