"""The state of the execution model: PostgreSQL, the chain, and what each worker remembers."""

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus

NO_WORKER = 0  # the holder of no lease; workers count from 1
NO_TX = 0  # transactions count from 1
FORGOTTEN = 0  # an epoch that no worker compares any more; claims count from 1


class Intent(StrEnum):
    """A transaction in PostgreSQL."""

    UNRECORDED = "unrecorded"
    LIVE = "live"
    LANDED = "landed"
    DEAD = "dead"


class Fate(StrEnum):
    """A transaction on the chain."""

    UNSENT = "unsent"
    SENT = "sent"  # may land at any time
    OVERDUE = "overdue"  # will not land, but the chain has not committed that
    FILLED = "filled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Transaction(NamedTuple):
    intent: Intent = Intent.UNRECORDED
    fate: Fate = Fate.UNSENT


class Event(NamedTuple):
    """The epoch is kept while a worker may search for the event by its cause."""

    seq: int
    status: OrderStatus
    epoch: int = FORGOTTEN

    @property
    def cause(self) -> tuple[int, OrderStatus]:
        return self.epoch, self.status


class Transition(NamedTuple):
    target: OrderStatus
    records: int = NO_TX
    settles: int = NO_TX


class NextIntent(NamedTuple):
    records: int


class FailedAttempt(NamedTuple):
    attempts: int
    marks_dead: int = NO_TX


Write = Transition | NextIntent | FailedAttempt


class Doing(StrEnum):
    NOTHING = "nothing"
    CLAIMING = "claiming"  # the reply to its claim was lost
    READING = "reading"  # has claimed a submitted order and not read its intents yet
    WORKING = "working"


class Worker(NamedTuple):
    """What one claim remembers of the order; stale once another worker has claimed it."""

    doing: Doing = Doing.NOTHING
    epoch: int = FORGOTTEN
    status: OrderStatus = OrderStatus.PENDING
    attempts: int = 0
    tx: int = NO_TX
    outcome: Fate | None = None  # of `tx`, as the chain last reported it
    unanswered: Write | None = None  # a statement to be repeated

    def after(self, write: Write) -> "Worker":
        """The worker once it knows that `write` has been committed."""
        match write:
            case Transition(target, records) if target not in FINAL:
                return self._replace(status=target, tx=records or self.tx, unanswered=None)
            case NextIntent(records):
                return self._replace(tx=records, unanswered=None)
            case _:
                return Worker()


class State(NamedTuple):
    status: OrderStatus = OrderStatus.PENDING
    seq: int = 1
    epoch: int = 0
    lease: int = NO_WORKER
    attempts: int = 0
    tx_hash: int = NO_TX
    events: tuple[Event, ...] = (Event(1, OrderStatus.PENDING),)
    transactions: tuple[Transaction, ...] = ()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    cancelling: bool = False  # the gateway has read the status and not written yet

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
        searched = {
            (worker.epoch, worker.unanswered.target)
            for worker in self.workers
            if isinstance(worker.unanswered, Transition)
        }
        if any(event.epoch and event.cause not in searched for event in self.events):
            self = self._replace(
                events=tuple(
                    event if event.cause in searched else Event(event.seq, event.status)
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
    """What is wrong with the state; None when it breaks no rule."""
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
        return "failed and may still be filled"
    if any(target not in TRANSITIONS[source] for source, target in pairwise(statuses)):
        return "a transition that the table does not allow"
    if [event.seq for event in state.events] != list(range(1, state.seq + 1)):
        return "a gap or a repeat in seq"
    if statuses[-1] is not state.status:
        return "a status without its event"
    return None
