"""Every fault is reported under its promise, and nothing else is reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.domain.status import TRANSITIONS, OrderStatus
from proof.history import Acknowledged, Frame, History, Promise, RecordedEvent, violations
from support.histories import (
    EVERY_FAILURE,
    EVERY_LIFE,
    HAPPY,
    ORDER,
    OTHER,
    STRANGER,
    Life,
    Outcome,
    State,
    a_history,
    a_log,
    an_entry,
    together,
    with_entry,
    with_frames,
    with_intents,
    with_row,
    without,
)

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus


def reported(history: History) -> list[tuple[Promise, str]]:
    """What is reported of ORDER; nothing may be reported of other orders."""
    found = violations(history)
    assert {violation.order_id for violation in found} <= {ORDER}
    return [(violation.promise, violation.sentence) for violation in found]


# Nothing to report


def test_the_lives_are_the_happy_path_and_every_failure() -> None:
    assert sorted([HAPPY, *((*HAPPY[:n], FAILED) for n in range(1, 5))]) == EVERY_LIFE


@pytest.mark.parametrize("life", EVERY_LIFE, ids=" ".join)
def test_a_healthy_life_breaks_no_promise(life: Life) -> None:
    assert reported(a_history(life)) == []


@pytest.mark.parametrize("life", EVERY_LIFE, ids=" ".join)
def test_intents_that_were_not_read_are_not_judged(life: Life) -> None:
    assert reported(replace(a_history(life), intents=None)) == []


def test_an_empty_history_breaks_no_promise() -> None:
    assert reported(together()) == []


def test_orders_side_by_side_with_no_client_or_many_break_no_promise() -> None:
    history = together(a_history(clients=()), a_history(order_id=OTHER, clients=("ann", "bob")))

    assert reported(history) == []


def test_an_order_without_an_acknowledgement_breaks_no_promise() -> None:
    assert reported(replace(a_history(), acknowledged=())) == []


@pytest.mark.parametrize("outcome", ["rejected", "never_lands", "expired"])
@pytest.mark.parametrize("life", [HAPPY, *EVERY_FAILURE], ids=" ".join)
def test_a_transaction_that_never_fills_breaks_no_promise(life: Life, outcome: Outcome) -> None:
    assert reported(with_entry(a_history(life), an_entry(outcome, "sig-0"))) == []


def test_intents_that_died_before_one_landed_break_no_promise() -> None:
    history = with_intents(a_history(), ("dead", "sig-2"), ("dead", "sig-3"), ("landed", "sig-1"))

    assert reported(history) == []


def test_a_failed_order_whose_intents_all_died_breaks_no_promise() -> None:
    history = with_intents(a_history((*HAPPY[:-1], FAILED)), ("dead", "sig-1"), ("dead", "sig-2"))

    assert reported(history) == []


def test_records_may_come_in_any_order() -> None:
    history = together(a_history(), a_history(order_id=OTHER))

    assert reported(replace(history, events=history.events[::-1])) == []


# P1


def test_an_acknowledged_order_without_a_row_is_lost() -> None:
    history = replace(a_history(order_id=OTHER), acknowledged=(Acknowledged(order_id=ORDER),))

    assert reported(history) == [("P1", "it was acknowledged, but has no row")]


@pytest.mark.parametrize("length", range(1, len(HAPPY)))
def test_an_order_that_is_not_final_never_ended(length: int) -> None:
    life = HAPPY[:length]

    assert reported(a_history(life)) == [("P1", f"it never ended: its row is {life[-1]}")]


def test_an_order_that_was_not_acknowledged_must_end_too() -> None:
    history = replace(a_history((PENDING,)), acknowledged=())

    assert reported(history) == [("P1", "it never ended: its row is pending")]


# P2: the ledger


def test_a_double_fill_is_reported() -> None:
    history = with_entry(a_history(), an_entry("filled", "sig-2"))

    assert reported(history) == [
        ("P2", "it is confirmed, but its fills are sig-1, sig-2 instead of sig-1")
    ]


def test_a_double_fill_of_an_order_that_has_not_ended_is_reported() -> None:
    history = with_entry(a_history(HAPPY[:-1]), an_entry("filled", "sig-2"))

    assert reported(history) == [
        ("P1", "it never ended: its row is submitted"),
        ("P2", "it is submitted, but its fills are sig-1, sig-2 instead of sig-1"),
    ]


@pytest.mark.parametrize("outcome", ["rejected", "never_lands", "expired"])
def test_a_confirmed_order_without_a_fill_is_reported(outcome: Outcome) -> None:
    history = replace(a_history(), ledger=(an_entry(outcome),))

    assert reported(history) == [("P2", "it is confirmed, but its fills are none instead of sig-1")]


def test_a_confirmed_order_filled_under_another_signature_is_reported() -> None:
    history = replace(a_history(), ledger=(an_entry("filled", "sig-2"),))

    assert reported(history) == [
        ("P2", "it is confirmed, but its fills are sig-2 instead of sig-1")
    ]


@pytest.mark.parametrize("life", EVERY_FAILURE, ids=" ".join)
def test_a_failed_order_that_was_filled_is_reported(life: Life) -> None:
    history = with_entry(a_history(life), an_entry("filled", "sig-2"))

    assert reported(history) == [("P2", "it is failed, but its fills are sig-2 instead of none")]


def test_a_fill_without_an_order_is_reported() -> None:
    history = with_entry(a_history(order_id=OTHER), an_entry("filled", "sig-2"))

    assert reported(history) == [("P2", "it is unknown, but its fills are sig-2 instead of none")]


# P2: the intents


@pytest.mark.parametrize(
    ("intents", "found"),
    [
        ([], "none"),
        ([("dead", "sig-1")], "none"),
        ([("live", "sig-1")], "live sig-1"),
        ([("landed", "sig-2")], "landed sig-2"),
        ([("landed", "sig-1"), ("live", "sig-2")], "landed sig-1, live sig-2"),
        ([("landed", "sig-1"), ("landed", "sig-2")], "landed sig-1, landed sig-2"),
    ],
)
def test_a_confirmed_order_has_one_landed_intent_and_no_live_one(
    intents: list[tuple[State, str]], found: str
) -> None:
    history = with_intents(a_history(), *intents)

    assert reported(history) == [
        ("P2", f"it is confirmed, but its open intents are {found} instead of landed sig-1")
    ]


@pytest.mark.parametrize("state", ["live", "landed"])
@pytest.mark.parametrize("life", EVERY_FAILURE, ids=" ".join)
def test_a_failed_order_has_no_intent_that_is_not_dead(life: Life, state: State) -> None:
    history = with_intents(a_history(life), ("dead", "sig-1"), (state, "sig-2"))

    assert reported(history) == [
        ("P2", f"it is failed, but its open intents are {state} sig-2 instead of none")
    ]


def test_an_order_that_has_not_ended_has_at_most_one_live_intent() -> None:
    history = with_intents(a_history(HAPPY[:-1]), ("live", "sig-1"), ("live", "sig-2"))

    assert reported(history) == [
        ("P1", "it never ended: its row is submitted"),
        (
            "P2",
            "it is submitted, but its open intents are live sig-1, live sig-2 instead of live sig-1",
        ),
    ]


# P3: the events


@pytest.mark.parametrize("seq", range(1, len(HAPPY)))
def test_a_gap_in_the_events_is_reported(seq: int) -> None:
    history = a_history()

    assert reported(without(history, history.events[seq - 1])) == [
        ("P3", f"event {seq} is missing")
    ]


def test_a_missing_last_event_leaves_the_row_ahead_and_its_frame_foreign() -> None:
    history = a_history()

    assert reported(without(history, history.events[-1])) == [
        ("P3", "client ann: frame 5 is foreign: the last event is 4"),
        ("P3", "its row is 5 confirmed, its last event is 4 submitted"),
    ]


def test_an_order_without_events_is_reported() -> None:
    history = replace(a_history(clients=()), events=())

    assert reported(history) == [("P3", "its row is 5 confirmed, its last event is nothing")]


def test_events_without_an_order_are_reported() -> None:
    history = replace(together(), events=a_history().events)

    assert reported(history) == [("P3", "its row is nothing, its last event is 5 confirmed")]


@pytest.mark.parametrize("seq", range(1, len(HAPPY) + 1))
def test_a_repeated_event_is_reported(seq: int) -> None:
    history = a_history()
    again = replace(history, events=(*history.events, history.events[seq - 1]))

    assert reported(again) == [("P3", f"event {seq} is repeated")]


def test_an_event_numbered_below_one_is_reported() -> None:
    history = a_history()
    early = RecordedEvent(order_id=ORDER, seq=-1, status=PENDING)

    assert reported(replace(history, events=(early, *history.events))) == [
        ("P3", "event -1 is foreign: the last event is 5")
    ]


def test_a_life_that_does_not_start_pending_is_reported() -> None:
    history = a_history(HAPPY[1:])

    assert reported(history) == [("P3", "event 1 moves it from nothing to routing")]


ILLEGAL_MOVES = [
    (source, target)
    for source in OrderStatus
    for target in OrderStatus
    if target not in TRANSITIONS[source]
]


@pytest.mark.parametrize(("source", "target"), ILLEGAL_MOVES)
def test_an_illegal_move_is_reported(source: OrderStatus, target: OrderStatus) -> None:
    before = next(life[: life.index(source) + 1] for life in EVERY_LIFE if source in life)
    after = next(life[life.index(target) :] for life in EVERY_LIFE if target in life)
    history = a_history((*before, *after))

    assert reported(history) == [
        ("P3", f"event {len(before) + 1} moves it from {source} to {target}")
    ]


def test_an_event_after_the_final_one_is_reported() -> None:
    history = a_history((PENDING, FAILED, FAILED))

    assert reported(history) == [("P3", "event 3 moves it from failed to failed")]


def test_an_order_row_behind_its_events_is_reported() -> None:
    history = with_row(a_history(), seq=4, status=CONFIRMED)

    assert reported(history) == [("P3", "its row is 4 confirmed, its last event is 5 confirmed")]


def test_an_order_row_with_another_status_than_its_last_event_is_reported() -> None:
    history = with_row(a_history((PENDING, ROUTING)), seq=2, status=FAILED)

    assert reported(history) == [("P3", "its row is 2 failed, its last event is 2 routing")]


def test_an_order_row_one_move_behind_its_final_event_never_ended_either() -> None:
    history = with_row(a_history(), seq=4, status=SUBMITTED)

    assert reported(history) == [
        ("P1", "it never ended: its row is submitted"),
        ("P3", "its row is 4 submitted, its last event is 5 confirmed"),
    ]


# P3: the frames

NUMBERED = tuple(enumerate(HAPPY, start=1))
PENDING_1, ROUTING_2, BUILDING_3, SUBMITTED_4, CONFIRMED_5 = NUMBERED


@pytest.mark.parametrize("seq", range(1, len(HAPPY) + 1))
def test_a_missing_frame_is_reported(seq: int) -> None:
    history = with_frames(*(frame for frame in NUMBERED if frame[0] != seq))

    assert reported(history) == [("P3", f"client ann: frame {seq} is missing")]


def test_a_client_that_received_nothing_misses_every_frame() -> None:
    assert reported(with_frames()) == [
        ("P3", f"client ann: frame {n} is missing") for n in range(1, 6)
    ]


@pytest.mark.parametrize("seq", range(1, len(HAPPY) + 1))
def test_a_repeated_frame_is_reported(seq: int) -> None:
    history = with_frames(*NUMBERED[:seq], *NUMBERED[seq - 1 :])

    assert reported(history) == [("P3", f"client ann: frame {seq} is repeated")]


def test_a_frame_repeated_later_is_not_a_reordered_one() -> None:
    history = with_frames(*NUMBERED, ROUTING_2)

    assert reported(history) == [("P3", "client ann: frame 2 is repeated")]


def test_a_reordered_frame_is_reported() -> None:
    history = with_frames(PENDING_1, BUILDING_3, ROUTING_2, SUBMITTED_4, CONFIRMED_5)

    assert reported(history) == [("P3", "client ann: frame 2 is out of order")]


@pytest.mark.parametrize("foreign", [(0, PENDING), (6, FAILED)])
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_frame_that_no_event_backs_is_reported(
    place: int, foreign: tuple[int, OrderStatus]
) -> None:
    history = with_frames(*NUMBERED[:place], foreign, *NUMBERED[place:])

    assert reported(history) == [
        ("P3", f"client ann: frame {foreign[0]} is foreign: the last event is 5")
    ]


def test_frames_of_an_unknown_order_are_reported() -> None:
    history = replace(a_history(order_id=OTHER), clients=(a_log(PENDING_1),))

    assert reported(history) == [("P3", "client ann: frame 1 is foreign: the last event is 0")]


def test_a_frame_with_another_status_than_its_event_is_reported() -> None:
    history = with_frames(PENDING_1, ROUTING_2, (3, FAILED), SUBMITTED_4, CONFIRMED_5)

    assert reported(history) == [("P3", "client ann: frame 3 is failed, its event is building")]


def test_only_the_client_with_the_fault_is_named() -> None:
    history = a_history(clients=("ann", "bob"))
    ann, bob = history.clients

    assert reported(replace(history, clients=(ann, replace(bob, frames=bob.frames[1:])))) == [
        ("P3", "client bob: frame 1 is missing")
    ]


# Any single fault in any healthy history


@st.composite
def healthy_histories(draw: st.DrawFn) -> History:
    lives = draw(st.lists(st.sampled_from(EVERY_LIFE), min_size=1, max_size=4))
    crowds = st.sampled_from([("ann",), ("ann", "bob"), ("ann", "bob", "cyd")])
    return together(
        *(
            a_history(life, order_id=UUID(int=n), clients=draw(crowds))
            for n, life in enumerate(lives)
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A history with one fault, and the promise and the order that it breaks."""

    history: History
    promise: Promise
    order_id: UUID


def in_the_frames(history: History, data: st.DataObject) -> Fault:
    log = data.draw(st.sampled_from(history.clients))
    change = data.draw(st.sampled_from([drop, duplicate, swap]))
    places = data.draw(st.permutations(range(len(log.frames))))
    changed = replace(log, frames=tuple(change(log.frames, places[0], places[1])))
    clients = tuple(changed if each is log else each for each in history.clients)
    return Fault(history=replace(history, clients=clients), promise="P3", order_id=log.order_id)


def drop(frames: Sequence[Frame], place: int, _: int) -> Sequence[Frame]:
    return [*frames[:place], *frames[place + 1 :]]


def duplicate(frames: Sequence[Frame], place: int, target: int) -> Sequence[Frame]:
    return [*frames[:target], frames[place], *frames[target:]]


def swap(frames: Sequence[Frame], one: int, other: int) -> Sequence[Frame]:
    swapped = {one: frames[other], other: frames[one]}
    return [swapped.get(place, frame) for place, frame in enumerate(frames)]


def in_the_events(history: History, data: st.DataObject) -> Fault:
    lost = data.draw(st.sampled_from(history.events))
    return Fault(history=without(history, lost), promise="P3", order_id=lost.order_id)


def in_the_ledger(history: History, data: st.DataObject) -> Fault:
    order_id = data.draw(st.sampled_from([STRANGER, *(order.order_id for order in history.orders)]))
    fill = an_entry("filled", "sig-again", order_id=order_id)
    return Fault(history=with_entry(history, fill), promise="P2", order_id=order_id)


@given(healthy_histories())
def test_no_healthy_history_breaks_a_promise(history: History) -> None:
    assert violations(history) == []


@pytest.mark.parametrize("inject", [in_the_frames, in_the_events, in_the_ledger])
@given(data=st.data())
def test_any_single_fault_is_reported_under_its_promise_and_order(
    inject: Callable[[History, st.DataObject], Fault], data: st.DataObject
) -> None:
    fault = inject(data.draw(healthy_histories()), data)

    found = {(violation.promise, violation.order_id) for violation in violations(fault.history)}
    assert found == {(fault.promise, fault.order_id)}


def test_violations_are_sorted_by_promise_and_then_by_order() -> None:
    history = together(
        replace(a_history(order_id=OTHER), ledger=(), events=()),
        replace(a_history((PENDING,)), clients=(a_log(),)),
    )

    found = [(violation.promise, violation.order_id) for violation in violations(history)]
    assert list(dict.fromkeys(found)) == [
        ("P1", ORDER),
        ("P2", OTHER),
        ("P3", ORDER),
        ("P3", OTHER),
    ]
