"""Checks P1 and P2 for one order, in every run of the model of the protocol."""

from collections.abc import Callable

import pytest

from models.execution_model import BUILDING, CONFIRMED, FAILED, SUBMITTED, Flaw, execution_model
from models.execution_state import NO_TX, NO_WORKER, Doing, Fate, Intent, State, Transaction
from models.search import END_OUT_OF_REACH, Explored, Violation, explore
from order_engine.execution.domain.status import FINAL


@pytest.fixture(scope="module")
def explored() -> Explored[State]:
    return explore(execution_model())


def test_every_order_ends_with_at_most_one_fill(explored: Explored[State]) -> None:
    """The search raises when a rule is broken."""
    ends = {state.status for state in (explored.first(_at(end)) for end in FINAL) if state}

    assert ends == FINAL


def _at(status: object) -> Callable[[State], bool]:
    return lambda state: state.status is status


# The search proves nothing unless it reaches these states.

SITUATIONS: dict[str, Callable[[State], bool]] = {
    "a fill that no worker waits for": lambda s: (
        s.status is SUBMITTED
        and s.transactions[0].fate is Fate.FILLED
        and all(worker.doing is Doing.NOTHING for worker in s.workers)
    ),
    "a second transaction fills": lambda s: s.status is CONFIRMED and s.tx_hash == 2,
    "expired on the chain, live in PostgreSQL, and the order has no lease": lambda s: (
        Transaction(Intent.LIVE, Fate.EXPIRED) in s.transactions and s.lease == NO_WORKER
    ),
    "a paused worker holds an expired transaction while another may land": lambda s: (
        len(s.transactions) == 2
        and s.transactions[1] == Transaction(Intent.LIVE, Fate.SENT)
        and any(worker.tx == 1 for worker in s.workers)
    ),
    "two workers execute the same order": lambda s: all(
        worker.doing is Doing.WORKING for worker in s.workers
    ),
    "a repeated transition after which another worker has moved the order": lambda s: any(
        worker.unanswered is not None and worker.unanswered[0] is BUILDING and s.status is SUBMITTED
        for worker in s.workers
    ),
    "a worker about to submit a cancelled order": lambda s: (
        s.status is FAILED and any(worker.status is BUILDING for worker in s.workers)
    ),
    "no attempt is left and the intent may still land": lambda s: (
        s.attempts == 2 and Transaction(Intent.LIVE, Fate.SENT) in s.transactions
    ),
    "a submitted order whose intents are all dead": lambda s: (
        s.status is SUBMITTED and {t.intent for t in s.transactions} == {Intent.DEAD}
    ),
    "failed before anything was signed": lambda s: (
        s.status is FAILED and s.transactions == () and s.tx_hash == NO_TX
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_search_reaches(situation: str, explored: Explored[State]) -> None:
    assert explored.first(SITUATIONS[situation]) is not None


# The search proves nothing unless it detects these flaws.


@pytest.mark.parametrize(
    ("flaws", "rule"),
    [
        ([Flaw.NO_FENCE], "two live intents"),
        ([Flaw.FENCE_BY_SELECT], "failed and may still be filled"),
        ([Flaw.SENT_UNRECORDED], "failed and may still be filled"),
        ([Flaw.DEAD_BEFORE_EXPIRY], "failed and may still be filled"),
        ([Flaw.FAILED_WHILE_LIVE], "failed and may still be filled"),
        ([Flaw.NO_INTENT_READ], "two live intents"),
        ([Flaw.CANCEL_AT_SUBMITTED], "failed and may still be filled"),
        ([Flaw.CANCEL_BY_SELECT], "a transition that the table does not allow"),
        (
            [Flaw.CANCEL_KEEPS_EPOCH, Flaw.TRANSITION_IGNORES_STATUS],
            "a transition that the table does not allow",
        ),
        (
            [Flaw.NO_CAUSE, Flaw.TRANSITION_IGNORES_STATUS],
            "a transition that the table does not allow",
        ),
        ([Flaw.NO_LEASE_EXPIRY], END_OUT_OF_REACH),
        ([Flaw.NO_TX_EXPIRY], END_OUT_OF_REACH),
    ],
)
def test_the_search_detects_a_flawed_protocol(flaws: list[Flaw], rule: str) -> None:
    with pytest.raises(Violation) as caught:
        explore(execution_model(*flaws))

    assert caught.value.rule == rule


@pytest.mark.parametrize(
    "flaws", [[Flaw.TRANSITION_IGNORES_STATUS], [Flaw.CANCEL_KEEPS_EPOCH, Flaw.NO_CAUSE]]
)
def test_comparing_the_epoch_or_the_status_alone_stops_a_cancelled_order(flaws: list[Flaw]) -> None:
    """The engine compares both. A repeat that does not find its cause only takes longer."""
    explore(execution_model(*flaws))
