"""The results of a cluster run as Markdown, for docs/cluster-test.md."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from support.steady_load import Load

HEADER = (
    "done to the fleet",
    "orders",
    "asked again",
    "streams",
    "frames",
    "broken promises",
    "POST, median and longest (ms)",
    "to the last frame, median and longest (s)",
    "how long it took",
)


@dataclass(slots=True)
class Figures:
    facts: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)
    reasons: list[tuple[object, ...]] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        self.facts.append((name, str(value)))

    def load(self, what: str, load: Load, *, violations: int, took: str) -> None:
        posts, orders = load.post_seconds or [0.0], load.order_seconds or [0.0]
        for reason, times in Counter(load.retried_errors).most_common():
            self.reasons.append((what, times, reason))
        self.rows.append(
            (
                what,
                load.orders,
                len(load.retried_errors),
                len(load.trading.logs),
                load.frames,
                violations,
                f"{median(posts) * 1000:.0f}, {max(posts) * 1000:.0f}",
                f"{median(orders):.1f}, {max(orders):.1f}",
                took,
            )
        )

    def lines(self) -> list[str]:
        if not self.facts:
            return []
        return [
            *_table(("", ""), self.facts),
            "",
            *_table(HEADER, self.rows),
            "",
            *_table(("while", "times", "why a client asked again"), self.reasons),
        ]


def _table(
    header: tuple[str, ...], rows: list[tuple[object, ...]] | list[tuple[str, str]]
) -> list[str]:
    lines = [header, tuple("---" for _ in header), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]
