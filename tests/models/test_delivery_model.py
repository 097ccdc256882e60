"""Checks P3 for one order and one client, in every run of the model of the delivery."""

from collections.abc import Callable

import pytest

from models.delivery_model import Flaw, Socket, State, delivery_model
from models.search import END_OUT_OF_REACH, Explored, Violation, explore

SOCKET_RULE = "a socket does not carry the events after `after`, in order, each once"
CLIENT_RULE = "a client does not receive 1..n in order, each once"


@pytest.fixture(scope="module")
def explored() -> Explored[State]:
    return explore(delivery_model())


def test_every_client_receives_every_status_in_order_each_once(explored: Explored[State]) -> None:
    """The search raises when a rule is broken."""
    assert explored.first(lambda state: state.log == (1, 2, 3)) is not None


@pytest.mark.parametrize("flaw", [Flaw.LOST_WHILE_LOADING, Flaw.READ_THEN_SUBSCRIBE])
def test_the_position_check_recovers_events_that_the_bus_has_lost(flaw: Flaw) -> None:
    explore(delivery_model(flaw))


def test_without_losses_no_event_waits_for_the_position_check() -> None:
    explore(delivery_model(Flaw.NO_POSITION_CHECK, reliable=True))


# The search proves nothing unless it reaches these states.

SITUATIONS: dict[str, Callable[[State], bool]] = {
    "an event that arrives after the load has read": lambda s: (
        s.load is not None and s.load.read is not None and s.load.read < s.load.newest
    ),
    "a feed whose socket is closed": lambda s: s.socket is Socket.DOWN and s.feed == (1, 2),
    "a socket ahead of its client": lambda s: s.log == (1,) and s.wire == (2, 3),
    "an open socket beside a broken subscription": lambda s: (
        s.socket is Socket.OPEN and not s.subscribed and 3 in s.bus
    ),
    "an old event": lambda s: s.subscribed and s.log == (1, 2, 3) and s.bus == {1, 2, 3},
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_search_reaches(situation: str, explored: Explored[State]) -> None:
    assert explored.first(SITUATIONS[situation]) is not None


# The search proves nothing unless it detects these flaws.


@pytest.mark.parametrize(
    ("flaw", "rule"),
    [
        (Flaw.NO_GAP_FILL, SOCKET_RULE),
        (Flaw.NO_DEDUPE, SOCKET_RULE),
        (Flaw.RESUMED_FROM_START, SOCKET_RULE),
        (Flaw.CLIENT_WITHOUT_SEQ, CLIENT_RULE),
        (Flaw.NO_POSITION_CHECK, END_OUT_OF_REACH),
    ],
)
def test_the_search_detects_a_flawed_delivery(flaw: Flaw, rule: str) -> None:
    with pytest.raises(Violation) as caught:
        explore(delivery_model(flaw))

    assert caught.value.rule == rule


@pytest.mark.parametrize("flaw", [Flaw.LOST_WHILE_LOADING, Flaw.READ_THEN_SUBSCRIBE])
def test_without_the_position_check_a_flaw_loses_events_even_on_a_reliable_bus(flaw: Flaw) -> None:
    with pytest.raises(Violation, match=END_OUT_OF_REACH):
        explore(delivery_model(Flaw.NO_POSITION_CHECK, flaw, reliable=True))
