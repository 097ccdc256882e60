"""Histories of one order, healthy unless a test changes them, for the checker of the promises."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import chain
from typing import Literal
from uuid import UUID

from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus
from proof.history import (
    Acknowledged,
    ClientLog,
    Frame,
    History,
    LedgerEntry,
    RecordedEvent,
    RecordedIntent,
    RecordedOrder,
)

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus

Life = tuple[OrderStatus, ...]
Outcome = Literal["filled", "rejected", "never_lands", "expired"]
State = Literal["live", "landed", "dead"]

HAPPY: Life = (PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED)
OUTCOMES: Mapping[OrderStatus, Outcome] = {FAILED: "rejected"}
STATES: Mapping[OrderStatus, State] = {CONFIRMED: "landed", FAILED: "dead"}
ORDER, OTHER, STRANGER = UUID(int=1), UUID(int=2), UUID(int=99)


def _lives_from(status: OrderStatus) -> Iterator[Life]:
    if status in FINAL:
        yield (status,)
    for target in TRANSITIONS[status]:
        yield from ((status, *rest) for rest in _lives_from(target))


EVERY_LIFE = sorted(_lives_from(PENDING))
EVERY_FAILURE = [life for life in EVERY_LIFE if life[-1] is FAILED]


def a_history(
    life: Life = HAPPY, *, order_id: UUID = ORDER, clients: tuple[str, ...] = ("ann",)
) -> History:
    """One order with these statuses; when it was sent, the signature for ORDER is `sig-1`."""
    status, signature = life[-1], f"sig-{order_id.int}"
    tx_hash = signature if status is CONFIRMED else None
    entry = an_entry(OUTCOMES.get(status, "filled"), signature, order_id=order_id)
    intent = an_intent(STATES.get(status, "live"), signature, order_id=order_id)
    sent = SUBMITTED in life or status is CONFIRMED
    numbered = tuple(enumerate(life, start=1))
    return History(
        acknowledged=(Acknowledged(order_id=order_id),),
        orders=(RecordedOrder(order_id=order_id, status=status, seq=len(life), tx_hash=tx_hash),),
        events=tuple(RecordedEvent(order_id=order_id, seq=n, status=s) for n, s in numbered),
        ledger=(entry,) if sent else (),
        clients=tuple(a_log(*numbered, client=client, order_id=order_id) for client in clients),
        intents=(intent,) if sent else (),
    )


def an_entry(outcome: Outcome, signature: str = "sig-1", *, order_id: UUID = ORDER) -> LedgerEntry:
    return LedgerEntry(order_id=order_id, signature=signature, outcome=outcome)


def an_intent(
    state: State, signature: str = "sig-1", *, n: int = 1, order_id: UUID = ORDER
) -> RecordedIntent:
    return RecordedIntent(order_id=order_id, n=n, signature=signature, state=state)


def a_log(*seen: tuple[int, OrderStatus], client: str = "ann", order_id: UUID = ORDER) -> ClientLog:
    frames = tuple(Frame(seq=seq, status=status) for seq, status in seen)
    return ClientLog(client=client, order_id=order_id, frames=frames)


def with_entry(history: History, entry: LedgerEntry) -> History:
    return replace(history, ledger=(*history.ledger, entry))


def with_intents(history: History, *intents: tuple[State, str]) -> History:
    recorded = (an_intent(*intent, n=n) for n, intent in enumerate(intents, start=1))
    return replace(history, intents=tuple(recorded))


def with_row(history: History, *, seq: int, status: OrderStatus) -> History:
    (row,) = history.orders
    return replace(history, orders=(replace(row, seq=seq, status=status),))


def without(history: History, lost: RecordedEvent) -> History:
    return replace(history, events=tuple(e for e in history.events if e is not lost))


def with_frames(*seen: tuple[int, OrderStatus]) -> History:
    """A confirmed order with one client, which received these frames."""
    return replace(a_history(), clients=(a_log(*seen),))


def together(*histories: History) -> History:
    return History(
        **{
            field.name: tuple(chain.from_iterable(getattr(h, field.name) for h in histories))
            for field in fields(History)
        }
    )
