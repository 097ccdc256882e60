"""The rows of `make bench`, their targets, and the table that it prints."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.peer import Peer
from bench.recorded import PEER_MEDIANS
from bench.rivals import Engine

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`must` bounds the ratio of the engine to the other, or the engine's own figure if `absolute`."""

    figure: str
    must: float
    aim: float
    more_is_better: bool = False
    absolute: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.more_is_better else '<='} {self.must:g}"

    def is_met(self, value: float) -> bool:
        return value >= self.must if self.more_is_better else value <= self.must


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    work: str
    run: Callable[[Engine], Figures]
    peer: Callable[[Peer], Figures] | None = None  # the same work, in turns with the engine
    plain: Callable[[], Figures] | None = None  # or that of a plain server
    targets: Sequence[Target]
    repeats: int = 3


def ratio(figure: str, must: float, aim: float, *, more: bool = False) -> Target:
    return Target(figure=figure, must=must, aim=aim, more_is_better=more)


def bound(figure: str, must: float, aim: float) -> Target:
    return Target(figure=figure, must=must, aim=aim, absolute=True)


@dataclass(slots=True)
class Measured:
    """Every figure of one row, by rival."""

    figures: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, rival: str, figures: Figures) -> None:
        for name, value in figures.items():
            self.figures[rival][name].append(value)

    def median(self, rival: str, figure: str) -> float:
        return statistics.median(self.figures[rival][figure])

    def spread(self, rival: str, figure: str) -> str:
        values = self.figures[rival].get(figure)
        if not values:
            return ""
        return " / ".join(
            f"{value:.4g}" for value in (min(values), statistics.median(values), max(values))
        )


def report(row: Row, measured: Measured) -> bool:
    """Prints the lines of a row; whether every target is met. Recorded figures miss no target."""
    targets = {target.figure: target for target in row.targets}
    other = "plain" if row.plain else "peer"
    recorded = {} if measured.figures[other] else PEER_MEDIANS.get(row.name, {})
    all_met = True
    for figure in measured.figures["engine"]:
        value, beside = measured.median("engine", figure), measured.spread(other, figure)
        others = measured.median(other, figure) if beside else recorded.get(figure, 0.0)
        is_recorded = figure in recorded
        line = [row.name, figure, measured.spread("engine", figure)]
        line.append(f"{others:.4g} recorded" if is_recorded else beside)
        line.append(f"{value / others:.2f}" if others else "")
        target = targets.get(figure)
        line.append("" if target is None else f"{target}")
        if target is not None and (target.absolute or others):
            is_met = target.is_met(value if target.absolute else value / others)
            is_judged = target.absolute or not is_recorded
            line[-1] += " met" if is_met else " MISSED" if is_judged else " missed, not judged"
            all_met = all_met and (is_met or not is_judged)
        print(f"| {' | '.join(line)} |", flush=True)
    return all_met
