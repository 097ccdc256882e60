"""Explicit-state search: every state that a model can reach, and the shortest path to a bad one.

A model is a start and a function that yields the steps out of a state. The search is breadth first,
visits each reachable state once, and checks two kinds of rule:

- safety: `broken` finds nothing wrong with the state;
- liveness: fair steps alone can still lead from the state to the end. A fair step is one that
  happens sooner or later unless another is taken first. Faults, chance and requests of clients are
  not fair.

The result is exact for the model, with no bound on the length of a run.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)

END_OUT_OF_REACH = "the end cannot be reached"


class Step(NamedTuple, Generic[State]):
    name: str
    state: State  # after the step
    fair: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Generic[State]):
    start: State
    steps: Callable[[State], Iterable[Step[State]]]
    broken: Callable[[State], str | None]
    ended: Callable[[State], bool]


class Violation(Exception):
    """A broken rule, and the names of the steps that lead to the state that breaks it."""

    def __init__(self, rule: str, path: list[str]) -> None:
        super().__init__(f"{rule}, after {len(path)} steps:\n  " + "\n  ".join(path))
        self.rule = rule
        self.path = path


class Explored(Generic[State]):
    """Every reachable state, nearest to the start first."""

    def __init__(self, start: State) -> None:
        self._origins: dict[State, tuple[str, State] | None] = {start: None}

    def __len__(self) -> int:
        return len(self._origins)

    def add(self, step: Step[State], origin: State) -> bool:
        """False when the state after the step is already known."""
        if step.state in self._origins:
            return False
        self._origins[step.state] = (step.name, origin)
        return True

    def first(self, wanted: Callable[[State], bool]) -> State | None:
        return next((state for state in self._origins if wanted(state)), None)

    def path_to(self, state: State) -> list[str]:
        names = []
        while (origin := self._origins[state]) is not None:
            name, state = origin
            names.append(name)
        return names[::-1]


def explore(model: Model[State]) -> Explored[State]:
    """All states of a model; raises Violation at the first state that breaks a rule."""
    explored = Explored(model.start)
    ended: list[State] = []
    before: dict[State, list[State]] = {}  # by fair steps
    ahead = deque([model.start])
    while ahead:
        state = ahead.popleft()
        if (rule := model.broken(state)) is not None:
            raise Violation(rule, explored.path_to(state))
        if model.ended(state):
            ended.append(state)
        for step in model.steps(state):
            if explored.add(step, state):
                ahead.append(step.state)
            if step.fair:
                before.setdefault(step.state, []).append(state)
    can_end = _reached_from(ended, before)
    stuck = explored.first(lambda state: state not in can_end)
    if stuck is not None:
        raise Violation(END_OUT_OF_REACH, explored.path_to(stuck))
    return explored


def _reached_from(goals: list[State], neighbours: dict[State, list[State]]) -> set[State]:
    reached = set(goals)
    ahead = deque(goals)
    while ahead:
        for state in neighbours.get(ahead.popleft(), ()):
            if state not in reached:
                reached.add(state)
                ahead.append(state)
    return reached
