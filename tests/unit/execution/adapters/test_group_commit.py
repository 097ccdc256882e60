from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.adapters.group_commit import Statement, _rounds


class Write(NamedTuple):
    key: str
    n: int = 0


def a_statement(name: str) -> Statement[Write, None]:
    return Statement(
        name=name,
        sql="",
        key=lambda write: write.key,
        row=lambda write: {},
        answer_key=lambda row: None,
        result=lambda write, rows: None,
    )


PLACE, MOVE, READ = a_statement("place"), a_statement("move"), a_statement("read")
Call = tuple[Statement[Write, None], Write]


def rounds(calls: Sequence[Call]) -> list[tuple[str, list[Write]]]:
    return [
        (statement.name, [calls[place][1] for place in places])
        for statement, places in _rounds(calls)
    ]


def test_nothing_to_write_needs_no_statement() -> None:
    assert rounds([]) == []


def test_writes_of_one_kind_go_out_together() -> None:
    calls = [(MOVE, Write("a")), (MOVE, Write("b")), (MOVE, Write("c"))]

    assert rounds(calls) == [("move", [Write("a"), Write("b"), Write("c")])]


def test_rows_are_locked_in_the_order_of_their_keys() -> None:
    calls = [(MOVE, Write("c")), (MOVE, Write("a")), (MOVE, Write("b"))]

    assert rounds(calls) == [("move", [Write("a"), Write("b"), Write("c")])]


def test_two_kinds_of_statement_go_out_apart() -> None:
    calls = [(MOVE, Write("a")), (PLACE, Write("b")), (MOVE, Write("c"))]

    assert rounds(calls) == [("move", [Write("a"), Write("c")]), ("place", [Write("b")])]


def test_a_second_write_to_a_row_goes_to_a_later_round() -> None:
    calls = [(MOVE, Write("a", 1)), (MOVE, Write("a", 2)), (MOVE, Write("b"))]

    assert rounds(calls) == [("move", [Write("a", 1), Write("b")]), ("move", [Write("a", 2)])]


def test_a_row_is_placed_before_it_is_moved() -> None:
    calls = [(MOVE, Write("b")), (PLACE, Write("a", 1)), (MOVE, Write("a", 2))]

    assert rounds(calls) == [
        ("move", [Write("b")]),
        ("place", [Write("a", 1)]),
        ("move", [Write("a", 2)]),
    ]


@pytest.mark.parametrize("times", [2, 3, 5])
def test_a_row_written_many_times_needs_as_many_rounds(times: int) -> None:
    calls = [(MOVE, Write("a", n)) for n in range(times)]

    assert rounds(calls) == [("move", [Write("a", n)]) for n in range(times)]


calls_of_a_batch = st.lists(
    st.tuples(st.sampled_from([PLACE, MOVE, READ]), st.builds(Write, st.sampled_from("abcdef"))),
    max_size=40,
)


@given(calls=calls_of_a_batch)
def test_every_call_is_in_exactly_one_round(calls: list[Call]) -> None:
    places = [place for _, group in _rounds(calls) for place in group]

    assert sorted(places) == list(range(len(calls)))


@given(calls=calls_of_a_batch)
def test_a_round_holds_one_kind_of_statement(calls: list[Call]) -> None:
    for statement, places in _rounds(calls):
        assert {calls[place][0].name for place in places} == {statement.name}


@given(calls=calls_of_a_batch)
def test_a_round_holds_each_row_once_and_sorted(calls: list[Call]) -> None:
    for _, places in _rounds(calls):
        keys = [calls[place][1].key for place in places]

        assert keys == sorted(set(keys))


@given(calls=calls_of_a_batch)
def test_the_writes_to_one_row_keep_their_order(calls: list[Call]) -> None:
    places = [place for _, group in _rounds(calls) for place in group]
    by_key = sorted(places, key=lambda place: calls[place][1].key)

    for _, of_one_row in groupby(by_key, key=lambda place: calls[place][1].key):
        in_turn = list(of_one_row)

        assert in_turn == sorted(in_turn)


@given(calls=calls_of_a_batch)
def test_there_are_no_more_rounds_than_the_most_written_row_asks_for(calls: list[Call]) -> None:
    keys = [write.key for _, write in calls]
    most = max((keys.count(key) for key in keys), default=0)

    assert len(_rounds(calls)) <= most * 3
