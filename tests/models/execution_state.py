"""What the parts of the execution model know: PostgreSQL, the chain, and each worker by itself."""

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus

NOBODY = 0  # who holds a lease; workers count from 1
NO_TX = 0  # transactions count from 1
FORGOTTEN = 0  # an epoch that nobody will ask for; claims count from 1


class Intent(StrEnum):
    """What PostgreSQL knows of a transaction."""

    UNRECORDED = "unrecorded"
    LIVE = "live"
    LANDED = "landed"
    DEAD = "dead"


class Fate(StrEnum):
    """What the chain knows of it."""

    UNSENT = "unsent"
    SENT = "sent"  # may land at any moment
    OVERDUE = "overdue"  # will not land, though the chain has not said so
    FILLED = "filled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Transaction(NamedTuple):
    intent: Intent = Intent.UNRECORDED
    fate: Fate = Fate.UNSENT


class Event(NamedTuple):
    """The epoch is kept as long as a worker may look for the event by its cause."""

    seq: int
    status: OrderStatus
    epoch: int = FORGOTTEN

    @property
    def cause(self) -> tuple[int, OrderStatus]:
        return self.epoch, self.status


class Move(NamedTuple):
    target: OrderStatus
    records: int = NO_TX
    settles: int = NO_TX


class NextIntent(NamedTuple):
    records: int


class FailedAttempt(NamedTuple):
    attempts: int
    buries: int = NO_TX


Write = Move | NextIntent | FailedAttempt


class Doing(StrEnum):
    NOTHING = "nothing"
    CLAIMING = "claiming"  # the reply to its claim was lost
    READING = "reading"  # has claimed a submitted order, has yet to read the intents
    WORKING = "working"


class Worker(NamedTuple):
    """What one claimer remembers of the order; stale as soon as another has claimed it."""

    doing: Doing = Doing.NOTHING
    epoch: int = FORGOTTEN
    status: OrderStatus = OrderStatus.PENDING
    attempts: int = 0
    tx: int = NO_TX
    word: Fate | None = None  # the chain's last one on `tx`
    unanswered: Write | None = None  # a statement to be repeated

    def after(self, write: Write) -> "Worker":
        """Once it knows that `write` has been committed."""
        match write:
            case Move(target, records) if target not in FINAL:
                return self._replace(status=target, tx=records or self.tx, unanswered=None)
            case NextIntent(records):
                return self._replace(tx=records, unanswered=None)
            case _:
                return Worker()


class State(NamedTuple):
    status: OrderStatus = OrderStatus.PENDING
    seq: int = 1
    epoch: int = 0
    lease: int = NOBODY
    attempts: int = 0
    tx_hash: int = NO_TX
    events: tuple[Event, ...] = (Event(1, OrderStatus.PENDING),)
    transactions: tuple[Transaction, ...] = ()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    cancelling: bool = False  # the gateway has looked at the status and has yet to write

    def with_event(self, status: OrderStatus, *, epoch: int = FORGOTTEN) -> "State":
        seq = self.seq + 1
        events = (*self.events, Event(seq, status, epoch))
        return self._replace(status=status, seq=seq, events=events)

    def with_worker(self, number: int, worker: Worker) -> "State":
        workers = (*self.workers[: number - 1], worker, *self.workers[number:])
        return self._replace(workers=workers)

    def with_intent(self, tx: int, intent: Intent) -> "State":
        return self._with_transaction(tx, self._transaction(tx)._replace(intent=intent))

    def with_fate(self, tx: int, fate: Fate) -> "State":
        return self._with_transaction(tx, self._transaction(tx)._replace(fate=fate))

    def renumbered(self) -> "State":
        """The same state, with the epochs that still matter numbered from 1."""
        asked = {
            (worker.epoch, worker.unanswered.target)
            for worker in self.workers
            if isinstance(worker.unanswered, Move)
        }
        if any(event.epoch and event.cause not in asked for event in self.events):
            self = self._replace(
                events=tuple(
                    event if event.cause in asked else Event(event.seq, event.status)
                    for event in self.events
                )
            )
        known = {self.epoch, *(worker.epoch for worker in self.workers)} - {FORGOTTEN}
        if not known or max(known) == len(known):
            return self
        number = {FORGOTTEN: FORGOTTEN} | {epoch: n for n, epoch in enumerate(sorted(known), 1)}
        return self._replace(
            epoch=number[self.epoch],
            workers=tuple(w._replace(epoch=number[w.epoch]) for w in self.workers),
            events=tuple(e._replace(epoch=number[e.epoch]) for e in self.events),
        )

    def _transaction(self, tx: int) -> Transaction:
        return self.transactions[tx - 1] if tx <= len(self.transactions) else Transaction()

    def _with_transaction(self, tx: int, transaction: Transaction) -> "State":
        return self._replace(
            transactions=(*self.transactions[: tx - 1], transaction, *self.transactions[tx:])
        )


def broken(state: State) -> str | None:
    """What is wrong with a state that must never be."""
    fates = [transaction.fate for transaction in state.transactions]
    fills = [tx for tx, fate in enumerate(fates, 1) if fate is Fate.FILLED]
    live = [t for t in state.transactions if t.intent is Intent.LIVE]
    statuses = [event.status for event in state.events]
    if len(fills) > 1:
        return "filled twice"
    if len(live) > 1:
        return "two live intents"
    if state.status is OrderStatus.CONFIRMED and fills != [state.tx_hash]:
        return "confirmed without the recorded fill"
    if state.status is OrderStatus.FAILED and fills:
        return "failed and filled"
    if state.status is OrderStatus.FAILED and (live or Fate.SENT in fates):
        return "failed and may yet be filled"
    if any(target not in TRANSITIONS[source] for source, target in pairwise(statuses)):
        return "a move that the table does not allow"
    if [event.seq for event in state.events] != list(range(1, state.seq + 1)):
        return "a gap or a repeat in seq"
    if statuses[-1] is not state.status:
        return "a status without its event"
    return None
