"""The search itself, on models of a few states."""

from collections.abc import Iterable

import pytest

from models.search import END_OUT_OF_REACH, Model, Step, Violation, explore


def a_model(*steps: tuple[int, int] | tuple[int, int, bool], forbidden: int = -1) -> Model[int]:
    """From 0 to 9, where it ends; a step is (from, to) or (from, to, fair)."""

    def steps_from(state: int) -> Iterable[Step[int]]:
        return [
            Step(f"to {target}", target, all(fair))
            for source, target, *fair in steps
            if source == state
        ]

    return Model(
        start=0,
        steps=steps_from,
        broken=lambda state: "forbidden" if state == forbidden else None,
        ended=lambda state: state == 9,
    )


def test_every_state_is_reached_once() -> None:
    assert len(explore(a_model((0, 1), (0, 2), (1, 2), (2, 1), (1, 9), (3, 4)))) == 4


def test_a_violation_has_the_shortest_path_to_it() -> None:
    model = a_model((0, 1), (1, 2), (2, 3), (0, 2), (3, 9), forbidden=3)

    with pytest.raises(Violation) as caught:
        explore(model)

    assert caught.value.rule == "forbidden"
    assert str(caught.value) == "forbidden, after 2 steps:\n  to 2\n  to 3"


def test_a_state_without_a_step_is_stuck() -> None:
    with pytest.raises(Violation) as caught:
        explore(a_model((0, 1), (0, 9)))

    assert caught.value.rule == END_OUT_OF_REACH
    assert caught.value.path == ["to 1"]


def test_a_cycle_without_a_way_out_is_stuck() -> None:
    with pytest.raises(Violation, match=END_OUT_OF_REACH):
        explore(a_model((0, 1), (1, 2), (2, 1), (0, 9)))


def test_progress_does_not_depend_on_unfair_steps() -> None:
    with pytest.raises(Violation, match=END_OUT_OF_REACH):
        explore(a_model((0, 1), (1, 9, False), (0, 9)))


def test_an_unfair_step_still_leads_to_a_state() -> None:
    with pytest.raises(Violation, match="forbidden"):
        explore(a_model((0, 9), (0, 1, False), forbidden=1))


def test_the_first_match_is_the_nearest_state() -> None:
    explored = explore(a_model((0, 1), (1, 2), (2, 3), (3, 9)))

    nearest = explored.first(lambda state: state > 1)
    assert nearest == 2
    assert explored.path_to(nearest) == ["to 1", "to 2"]
