"""The execution protocol for one order, small enough to be searched completely.

Two workers, the gateway and the chain take turns in every possible order. Each step below is atomic
in the real system: one committed statement, or one call that reaches the chain. A worker may stop
between any two of its steps, for good (a crash) or until its lease has expired (a pause), and the
reply to any statement may be lost, after which the worker repeats it. Time means only that leases
expire and transactions become overdue, at any time.

    claim       epoch + 1, if the order is not final and not leased (or leased by this same claim)
    transition  status, seq, event and the state of an intent, if epoch and status are as known;
                else the worker searches for the event that it has caused itself, and stops when
                there is none
    intent      recorded with the transition to `submitted`, or later under the unchanged status;
                only recorded bytes are sent, and each later claim sends the recorded bytes again
    expiry      the chain commits that overdue bytes never land; a later step marks the intent dead
    attempt     after a failed attempt the order is released; the last attempt, and the expiry of
                the last transaction, fails it, unless an intent may still land
    cancel      `failed`, epoch + 1, if the order is not yet submitted

A transaction that was sent may land at any time until it is overdue, whatever PostgreSQL contains.
A check before each send therefore does not ensure P2. Three rules ensure it: bytes are recorded
before they are sent, no second transaction is recorded before the chain has committed that the
first one never lands, and nothing is recorded under an epoch that is not the newest.

Left out, because other steps cover it: releasing a lease (a crash, then the lease expires),
renewing it (it does not expire), hints (an order may be claimed at any time). The unique index on
live intents is left out as well: the protocol must hold without it.

Epochs are only compared for equality, so states are stored with their epochs renumbered from 1, and
attempts are not counted beyond the last. That makes the states finite, with no bound on the number
of claims, crashes, pauses and lost replies.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from models.execution_state import (
    NO_TX,
    NO_WORKER,
    Doing,
    FailedAttempt,
    Fate,
    Intent,
    NextIntent,
    State,
    Transition,
    Worker,
    Write,
    broken,
)
from models.search import Model, Step
from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus

ATTEMPTS_MAX = 2
CANCELLABLE = frozenset({PENDING, ROUTING, BUILDING})
OUTCOMES = frozenset({Fate.FILLED, Fate.REJECTED, Fate.EXPIRED})


class Flaw(StrEnum):
    """A rule that the model leaves out."""

    NO_FENCE = "no write compares the epoch"
    FENCE_BY_SELECT = "the epoch is checked before a further intent is written, not with it"
    SENT_UNRECORDED = "the first transaction is sent before it is recorded"
    DEAD_BEFORE_EXPIRY = "an intent counts as dead before the chain has committed its expiry"
    FAILED_WHILE_LIVE = "the last attempt fails an order whose intent may still land"
    NO_INTENT_READ = "a claim does not read the live intent"
    CANCEL_AT_SUBMITTED = "a submitted order can be cancelled"
    CANCEL_BY_SELECT = "cancel checks the status before it writes, not with it"
    CANCEL_KEEPS_EPOCH = "cancel does not raise the epoch"
    TRANSITION_IGNORES_STATUS = "a transition does not compare the status"
    NO_CAUSE = "a repeated transition does not search for the event that it has caused"
    NO_LEASE_EXPIRY = "a lease never expires"
    NO_TX_EXPIRY = "the chain is never asked for an expiry"


Flaws = frozenset[Flaw]


def execution_model(*flaws: Flaw) -> Model[State]:
    return Model(
        start=State(),
        steps=partial(_steps, flaws=frozenset(flaws)),
        broken=broken,
        ended=lambda state: state.status in FINAL,
    )


# The steps of each part


def _steps(state: State, *, flaws: Flaws) -> Iterator[Step[State]]:
    for name, after, fair in _outside_steps(state, flaws):
        yield Step(name, after.renumbered(), fair)
    for number, worker in enumerate(state.workers, 1):
        for name, after, fair in _worker_steps(state, number, worker, flaws):
            yield Step(f"worker {number} {name}", after.renumbered(), fair)


def _outside_steps(state: State, flaws: Flaws) -> Iterator[Step[State]]:
    """Steps of time, the chain and the gateway."""
    if state.lease != NO_WORKER and Flaw.NO_LEASE_EXPIRY not in flaws:
        # a working worker renews its lease, so that it expires only after a fault
        abandoned = all(worker.epoch != state.epoch for worker in state.workers)
        yield Step("the lease expires", state._replace(lease=NO_WORKER), abandoned)
    for tx, (_, fate) in enumerate(state.transactions, 1):
        if fate in {Fate.UNSENT, Fate.SENT}:
            yield Step(f"tx {tx} becomes overdue", state.with_fate(tx, Fate.OVERDUE))
        if fate is Fate.SENT:
            yield Step(f"tx {tx} fills", state.with_fate(tx, Fate.FILLED))
            yield Step(f"tx {tx} is rejected", state.with_fate(tx, Fate.REJECTED), fair=False)
    yield from _cancels(state, flaws)


def _cancels(state: State, flaws: Flaws) -> Iterator[Step[State]]:
    cancellable = state.status in CANCELLABLE or (
        Flaw.CANCEL_AT_SUBMITTED in flaws and state.status is SUBMITTED
    )
    if Flaw.CANCEL_BY_SELECT in flaws:
        if cancellable and not state.cancelling:
            yield Step("cancel checks the status", state._replace(cancelling=True), fair=False)
        cancellable = state.cancelling
    if cancellable:
        epoch = state.epoch if Flaw.CANCEL_KEEPS_EPOCH in flaws else state.epoch + 1
        cancelled = state.with_event(FAILED)._replace(
            epoch=epoch, lease=NO_WORKER, cancelling=False
        )
        yield Step("cancel", cancelled, fair=False)


def _worker_steps(state: State, number: int, worker: Worker, flaws: Flaws) -> Iterator[Step[State]]:
    match worker.doing:
        case Doing.NOTHING | Doing.CLAIMING:
            yield from _claims(state, number, worker)
        case Doing.READING:
            yield Step(
                "reads the intents",
                state.with_worker(number, _with_intents_read(state, worker, flaws)),
            )
        case Doing.WORKING if worker.unanswered is not None:
            after = _committed(state, number, worker, worker.unanswered, flaws)
            yield _answered("repeats its statement", state, after, number, worker.unanswered)
        case Doing.WORKING:
            yield from _venue_calls(state, number, worker, flaws)
            yield from _writes(state, number, worker, flaws)
    if worker.doing is not Doing.NOTHING:
        yield Step("crashes", state.with_worker(number, Worker()), fair=False)


def _claims(state: State, number: int, worker: Worker) -> Iterator[Step[State]]:
    repeated = worker.doing is Doing.CLAIMING
    free = state.lease == NO_WORKER or (repeated and state.lease == number)
    if state.status not in FINAL and free:
        epoch = state.epoch + 1
        claimed = state._replace(epoch=epoch, lease=number)
        doing = Doing.READING if state.status is SUBMITTED else Doing.WORKING
        holder = Worker(doing, epoch, state.status, state.attempts)
        yield Step("claims", claimed.with_worker(number, holder))
        unanswered = claimed.with_worker(number, Worker(Doing.CLAIMING))
        yield Step("claims, reply lost", unanswered, fair=False)
    elif repeated:
        yield Step("is refused", state.with_worker(number, Worker()))


def _with_intents_read(state: State, worker: Worker, flaws: Flaws) -> Worker:
    """The claim of a submitted order, with the intent that has landed or may still land."""
    counting = (
        tx
        for tx, (intent, _) in enumerate(state.transactions, 1)
        if intent in {Intent.LIVE, Intent.LANDED} and Flaw.NO_INTENT_READ not in flaws
    )
    return worker._replace(doing=Doing.WORKING, tx=next(counting, NO_TX))


def _venue_calls(state: State, number: int, worker: Worker, flaws: Flaws) -> Iterator[Step[State]]:
    """A lost reply needs no step of its own: the chain has acted, and the next call shows it."""
    tx = worker.tx
    if Flaw.SENT_UNRECORDED in flaws and worker.status is BUILDING and tx == NO_TX:
        signed = len(state.transactions) + 1
        after = state.with_fate(signed, Fate.UNSENT)
        yield Step(f"signs tx {signed}", after.with_worker(number, worker._replace(tx=signed)))
    if tx == NO_TX or worker.outcome is not None:
        return
    fate = state.transactions[tx - 1].fate
    if fate is Fate.UNSENT:
        yield Step(f"sends tx {tx}", state.with_fate(tx, Fate.SENT))
    if fate is Fate.OVERDUE and Flaw.NO_TX_EXPIRY not in flaws:
        yield Step(f"asks the chain to expire tx {tx}", state.with_fate(tx, Fate.EXPIRED))
    outcome = Fate.EXPIRED if Flaw.DEAD_BEFORE_EXPIRY in flaws and fate not in OUTCOMES else fate
    if outcome in OUTCOMES:
        informed = state.with_worker(number, worker._replace(outcome=outcome))
        yield Step(f"learns that tx {tx} is {outcome}", informed)


# The writes of a worker


def _writes(state: State, number: int, worker: Worker, flaws: Flaws) -> Iterator[Step[State]]:
    signed = len(state.transactions) + 1
    for name, write, fair in _decisions(worker, signed, flaws):
        after = _committed(state, number, worker, write, flaws)
        unanswered = worker._replace(unanswered=write)
        if after is None:
            yield _answered(name, state, after, number, write)
        elif Flaw.FENCE_BY_SELECT in flaws and isinstance(write, NextIntent):
            checked = state.with_fate(write.records, Fate.UNSENT).with_worker(number, unanswered)
            yield Step("checks that it holds the order", checked)
        else:
            yield _answered(name, state, after, number, write)._replace(fair=fair)
            yield Step(f"{name}, reply lost", after.with_worker(number, unanswered), fair=False)


def _answered(
    name: str, before: State, after: State | None, number: int, write: Write
) -> Step[State]:
    """The worker continues when its statement has been committed, and stops when it was fenced."""
    if after is None:
        return Step("is fenced", before.with_worker(number, Worker()))
    return Step(name, after.with_worker(number, before.workers[number - 1].after(write)))


class Decision(NamedTuple):
    name: str
    write: Write
    fair: bool = True


def _decisions(worker: Worker, signed: int, flaws: Flaws) -> Iterator[Decision]:
    """What a worker may write next; `signed` is a transaction that only it knows."""
    [onward] = TRANSITIONS[worker.status] - {FAILED}
    match worker.outcome:
        case Fate.FILLED:
            yield Decision(f"moves it to {onward}", Transition(onward, settles=worker.tx))
        case Fate.REJECTED:
            yield Decision("fails it", Transition(FAILED, settles=worker.tx))
        case Fate.EXPIRED:
            yield _after_failed_attempt(worker, dead=worker.tx, flaws=flaws)
        case _:
            if onward is SUBMITTED:
                yield Decision("submits it", Transition(onward, records=worker.tx or signed))
            elif worker.status is not SUBMITTED:
                yield Decision(f"moves it to {onward}", Transition(onward))
            elif worker.tx == NO_TX:
                yield Decision(f"records tx {signed}", NextIntent(signed))
            if worker.status is not PENDING:
                yield _after_failed_attempt(worker, dead=NO_TX, flaws=flaws)._replace(fair=False)
            if worker.tx == NO_TX:  # no live quote, or too many claims without a transition
                yield Decision("fails it", Transition(FAILED), fair=False)


def _after_failed_attempt(worker: Worker, *, dead: int, flaws: Flaws) -> Decision:
    """An expiry counts transactions, of which `dead` is the last; other failures count attempts."""
    attempts = min(worker.attempts + 1, ATTEMPTS_MAX)
    may_land = worker.tx != dead and Flaw.FAILED_WHILE_LIVE not in flaws
    if (dead or attempts) >= ATTEMPTS_MAX and not may_land:
        return Decision("fails it after its last attempt", Transition(FAILED, settles=worker.tx))
    return Decision("writes a failed attempt", FailedAttempt(attempts, marks_dead=dead))


def _committed(
    state: State, number: int, worker: Worker, write: Write, flaws: Flaws
) -> State | None:
    """PostgreSQL after the statement; None when another claim has fenced it."""
    holds = worker.epoch == state.epoch or Flaw.NO_FENCE in flaws
    match write:
        case Transition():
            return _moved(state, number, worker, write, flaws)
        case NextIntent(tx):
            checked_before = Flaw.FENCE_BY_SELECT in flaws and worker.unanswered is not None
            if not checked_before and not (holds and state.status is SUBMITTED):
                return None
            known = tx <= len(state.transactions)
            if known and state.transactions[tx - 1].intent is not Intent.UNRECORDED:
                return state  # a repeat
            return state.with_intent(tx, Intent.LIVE)
        case FailedAttempt(attempts, marks_dead):
            if not holds or state.status in FINAL:
                return None
            state = state._replace(attempts=attempts, lease=NO_WORKER)
            return state.with_intent(marks_dead, Intent.DEAD) if marks_dead else state


def _moved(
    state: State, number: int, worker: Worker, transition: Transition, flaws: Flaws
) -> State | None:
    caused = (worker.epoch, transition.target) in (event.cause for event in state.events)
    if caused and worker.unanswered is not None and Flaw.NO_CAUSE not in flaws:
        return state
    holds = worker.epoch == state.epoch or Flaw.NO_FENCE in flaws
    as_known = worker.status is state.status or Flaw.TRANSITION_IGNORES_STATUS in flaws
    if not (holds and as_known):
        return None
    lease = NO_WORKER if transition.target in FINAL else number
    state = state.with_event(transition.target, epoch=worker.epoch)._replace(lease=lease)
    if transition.records:
        state = state.with_intent(transition.records, Intent.LIVE)
    if transition.settles and transition.target is CONFIRMED:
        return state._replace(tx_hash=transition.settles).with_intent(
            transition.settles, Intent.LANDED
        )
    return state.with_intent(transition.settles, Intent.DEAD) if transition.settles else state
