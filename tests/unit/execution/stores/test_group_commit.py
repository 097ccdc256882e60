from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.execution.stores.group_commit import _Call, _rounds
from order_engine.execution.stores.statements import Statement


class Write(NamedTuple):
    key: str
    n: int = 0
    met_a_lock: bool = False


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


def groups(calls: Sequence[Call]) -> list[list[int]]:
    """Indexes into `calls`, group by group in the order in which they run."""
    encoded = [
        _Call(
            statement=statement,
            item=write,
            key=write.key,
            row="{}",
            met_a_lock=write.met_a_lock,
        )
        for statement, write in calls
    ]
    return [list(indexes) for round_ in _rounds(encoded) for _, indexes in round_]


def rounds(calls: Sequence[Call]) -> list[tuple[str, list[Write]]]:
    return [
        (calls[indexes[0]][0].name, [calls[place][1] for place in indexes])
        for indexes in groups(calls)
    ]


def test_no_calls_need_no_statement() -> None:
    assert rounds([]) == []


def test_calls_of_one_statement_run_together() -> None:
    calls = [(MOVE, Write("a")), (MOVE, Write("b")), (MOVE, Write("c"))]

    assert rounds(calls) == [("move", [Write("a"), Write("b"), Write("c")])]


def test_rows_are_locked_in_the_order_of_their_keys() -> None:
    calls = [(MOVE, Write("c")), (MOVE, Write("a")), (MOVE, Write("b"))]

    assert rounds(calls) == [("move", [Write("a"), Write("b"), Write("c")])]


def test_different_statements_run_separately() -> None:
    calls = [(MOVE, Write("a")), (PLACE, Write("b")), (MOVE, Write("c"))]

    assert rounds(calls) == [("move", [Write("a"), Write("c")]), ("place", [Write("b")])]


def test_a_second_write_to_a_row_runs_in_a_later_round() -> None:
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


def test_calls_that_met_a_lock_run_last_and_separately() -> None:
    locked = Write("a", met_a_lock=True)
    calls = [(MOVE, locked), (MOVE, Write("b")), (PLACE, Write("c"))]

    assert rounds(calls) == [("move", [Write("b")]), ("place", [Write("c")]), ("move", [locked])]


def test_a_write_behind_one_that_has_met_a_lock_stays_behind_it() -> None:
    first, second = Write("a", 1, met_a_lock=True), Write("a", 2)

    assert rounds([(MOVE, first), (PLACE, second)]) == [("move", [first]), ("place", [second])]


calls_of_a_batch = st.lists(
    st.tuples(
        st.sampled_from([PLACE, MOVE, READ]),
        st.builds(Write, st.sampled_from("abcdef"), met_a_lock=st.booleans()),
    ),
    max_size=40,
)


@given(calls=calls_of_a_batch)
def test_every_call_is_in_exactly_one_round(calls: list[Call]) -> None:
    indexes = [place for group in groups(calls) for place in group]

    assert sorted(indexes) == list(range(len(calls)))


@given(calls=calls_of_a_batch)
def test_a_round_holds_one_kind_of_statement(calls: list[Call]) -> None:
    for indexes in groups(calls):
        assert len({calls[place][0].name for place in indexes}) == 1


@given(calls=calls_of_a_batch)
def test_a_round_holds_each_row_once_and_sorted(calls: list[Call]) -> None:
    for indexes in groups(calls):
        keys = [calls[place][1].key for place in indexes]

        assert keys == sorted(set(keys))


@given(calls=calls_of_a_batch)
def test_the_writes_to_one_row_keep_their_order(calls: list[Call]) -> None:
    indexes = [place for group in groups(calls) for place in group]
    by_key = sorted(indexes, key=lambda place: calls[place][1].key)

    for _, of_one_row in groupby(by_key, key=lambda place: calls[place][1].key):
        in_turn = list(of_one_row)

        assert in_turn == sorted(in_turn)


@given(calls=calls_of_a_batch)
def test_there_are_no_more_rounds_than_the_most_written_row_asks_for(calls: list[Call]) -> None:
    keys = [write.key for _, write in calls]
    most = max((keys.count(key) for key in keys), default=0)

    assert len(groups(calls)) <= most * 6  # three statements, with and without locked rows
