"""P3 for one order and one client, over every run that the model of the delivery has."""

from collections.abc import Callable

import pytest

from models.delivery_model import Flaw, Socket, State, delivery_model
from models.search import END_OUT_OF_REACH, Explored, Violation, explore

SOCKET_RULE = "a socket does not carry what comes after `after`, in order, each once"
CLIENT_RULE = "a client does not get 1..n in order, each once"


@pytest.fixture(scope="module")
def explored() -> Explored[State]:
    return explore(delivery_model())


def test_every_client_gets_every_status_in_order_each_once(explored: Explored[State]) -> None:
    """No rule is broken: the search would have raised."""
    assert explored.first(lambda state: state.log == (1, 2, 3)) is not None


@pytest.mark.parametrize("flaw", [Flaw.NEWS_LOST_WHILE_LOADING, Flaw.READ_THEN_SUBSCRIBE])
def test_what_the_bus_does_not_bring_the_position_check_finds(flaw: Flaw) -> None:
    explore(delivery_model(flaw))


def test_while_nothing_is_lost_no_event_waits_for_the_position_check() -> None:
    explore(delivery_model(Flaw.NO_POSITION_CHECK, calm=True))


# A search that meets too little proves nothing.

SITUATIONS: dict[str, Callable[[State], bool]] = {
    "news during a load that has read too early": lambda s: (
        s.load is not None and s.load.read is not None and s.load.read < s.load.heard
    ),
    "a feed that outlives its socket": lambda s: s.socket is Socket.DOWN and s.feed == (1, 2),
    "a socket ahead of its client": lambda s: s.log == (1,) and s.wire == (2, 3),
    "an open socket beside a broken subscription": lambda s: (
        s.socket is Socket.OPEN and not s.subscribed and 3 in s.bus
    ),
    "old news": lambda s: s.subscribed and s.log == (1, 2, 3) and s.bus == {1, 2, 3},
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_search_meets(situation: str, explored: Explored[State]) -> None:
    assert explored.first(SITUATIONS[situation]) is not None


# A search that notices nothing proves nothing.


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
def test_a_weakened_delivery_is_caught(flaw: Flaw, rule: str) -> None:
    with pytest.raises(Violation) as caught:
        explore(delivery_model(flaw))

    assert caught.value.rule == rule


@pytest.mark.parametrize("flaw", [Flaw.NEWS_LOST_WHILE_LOADING, Flaw.READ_THEN_SUBSCRIBE])
def test_without_the_position_check_even_a_bus_that_loses_nothing_is_not_enough(flaw: Flaw) -> None:
    with pytest.raises(Violation, match=END_OUT_OF_REACH):
        explore(delivery_model(Flaw.NO_POSITION_CHECK, flaw, calm=True))
