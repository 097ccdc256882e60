"""Finds the promises P1 to P3 that a finished run has broken.

A history is read after a run has ended: acknowledged POSTs and frames from the clients, orders,
events and intents from PostgreSQL, the ledger from the simulated chain. It is assumed that an order
has no more than one row.
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
    """The outcome is fixed at the first send, so `filled` is a fill even before it has landed."""

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
    frames: tuple[Frame, ...]  # all that it received, from after=0 and across its reconnects


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
    """Every broken promise, sorted."""
    return sorted(
        Violation(promise=promise, order_id=order_id, sentence=sentence)
        for order_id, story in _stories(history).items()
        for promise, rules in RULES.items()
        for rule in rules
        for sentence in rule(story)
    )


@dataclass(slots=True, kw_only=True)
class _Story:
    intents_read: bool
    acknowledged: bool = False
    row: RecordedOrder | None = None
    events: list[RecordedEvent] = field(default_factory=list)  # by seq
    fills: list[str] = field(default_factory=list)  # signatures
    intents: list[str] = field(default_factory=list)  # state and signature, without the dead
    clients: list[ClientLog] = field(default_factory=list)


def _stories(history: History) -> Mapping[UUID, _Story]:
    """The history of each order."""
    stories = defaultdict[UUID, _Story](lambda: _Story(intents_read=history.intents is not None))
    for post in history.acknowledged:
        stories[post.order_id].acknowledged = True
    for order in history.orders:
        stories[order.order_id].row = order
    for event in sorted(history.events, key=lambda event: (event.seq, event.status)):
        stories[event.order_id].events.append(event)
    for entry in history.ledger:
        if entry.outcome == "filled":
            stories[entry.order_id].fills.append(entry.signature)
    for intent in history.intents or ():
        if intent.state != "dead":
            stories[intent.order_id].intents.append(f"{intent.state} {intent.signature}")
    for log in history.clients:
        stories[log.order_id].clients.append(log)
    return stories


def _acknowledged_orders_are_kept(story: _Story) -> Iterator[str]:
    if story.acknowledged and story.row is None:
        yield "it was acknowledged, but has no row"


def _orders_end(story: _Story) -> Iterator[str]:
    if story.row and story.row.status not in FINAL:
        yield f"it never ended: its row is {story.row.status}"


def _proofs_match_the_row(story: _Story) -> Iterator[str]:
    """One of each kind when confirmed, none when failed or unknown, else at most one."""
    status, tx_hash = (story.row.status, story.row.tx_hash) if story.row else (None, None)
    proofs = [("fills", story.fills, tx_hash), ("open intents", story.intents, f"landed {tx_hash}")]
    for kind, found, proof in proofs if story.intents_read else proofs[:1]:
        due = {OrderStatus.CONFIRMED: [proof], OrderStatus.FAILED: [], None: []}
        if found != (wanted := due.get(status, found[:1])):
            facts = f"its {kind} are {_listed(found)} instead of {_listed(wanted)}"
            yield f"it is {status or 'unknown'}, but {facts}"


def _events_count_up(story: _Story) -> Iterator[str]:
    seqs = [event.seq for event in story.events]
    yield from (f"event {fault}" for fault in _miscounts(seqs, last=max(seqs, default=0)))


def _moves_are_legal(story: _Story) -> Iterator[str]:
    statuses = {event.seq: event.status for event in story.events}
    for seq, target in statuses.items():
        source = statuses.get(seq - 1)
        legal = TRANSITIONS[source] if source else {OrderStatus.PENDING}
        if (source or seq == 1) and target not in legal:  # after a gap any move may be legal
            yield f"event {seq} moves it from {source or 'nothing'} to {target}"


def _row_is_at_the_last_event(story: _Story) -> Iterator[str]:
    last = story.events[-1] if story.events else None
    row, event = (f"{at.seq} {at.status}" if at else "nothing" for at in (story.row, last))
    if row != event:
        yield f"its row is {row}, its last event is {event}"


def _frames_repeat_events(story: _Story) -> Iterator[str]:
    events = {event.seq: event.status for event in story.events}
    for log in story.clients:
        for fault in _miscounts([frame.seq for frame in log.frames], last=max(events, default=0)):
            yield f"client {log.client}: frame {fault}"
        for seq, status in dict.fromkeys((frame.seq, frame.status) for frame in log.frames):
            if status != events.get(seq, status):
                yield f"client {log.client}: frame {seq} is {status}, its event is {events[seq]}"


def _miscounts(seqs: list[int], *, last: int) -> Iterator[str]:
    due, given = range(1, last + 1), dict.fromkeys(seqs)
    counted = [seq for seq in given if seq in due]
    yield from (f"{seq} is missing" for seq in due if seq not in given)
    yield from (f"{seq} is repeated" for seq in given if seqs.count(seq) > 1)
    yield from (f"{late} is out of order" for early, late in pairwise(counted) if late < early)
    yield from (f"{seq} is foreign: the last event is {last}" for seq in given if seq not in due)


def _listed(facts: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, facts))) or "none"


# TRANSITIONS has no move out of a final status, so no rule is needed for the last event.
RULES: Mapping[Promise, tuple[Callable[[_Story], Iterator[str]], ...]] = {
    "P1": (_acknowledged_orders_are_kept, _orders_end),
    "P2": (_proofs_match_the_row,),
    "P3": (_events_count_up, _moves_are_legal, _row_is_at_the_last_event, _frames_repeat_events),
}
