"""Dashboards as values.

In queries, `@` stands for the matchers that select one release. A dashboard has them from its
variables, an alert from the rendered chart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

WIDTH = 24

MATCHERS = 'namespace="$namespace",app_kubernetes_io_instance="$release"'


class Kind(StrEnum):
    LINES = "lines"
    STACK = "stack"
    NUMBER = "number"
    BARS = "bars"
    HEAT = "heat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """`queries` is legend -> PromQL. `bad_above` is the threshold of its alert, a dashed line.

    `when_none` is shown when a query has no result: most counters of errors do not exist before the
    first one. `alert` names a section of the runbook.
    """

    title: str
    description: str
    queries: Mapping[str, str]
    unit: str
    kind: Kind = Kind.LINES
    width: int = 8
    bad_above: float | None = None
    when_none: str | None = None
    alert: str | None = None

    @property
    def height(self) -> int:
        return 4 if self.kind is Kind.NUMBER else 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under a title; each line of them is exactly WIDTH wide."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    name: str
    title: str
    description: str
    rows: Sequence[Row]

    @property
    def uid(self) -> str:
        return f"order-engine-{self.name}"


def quantile(share: float, histogram: str, *, by: str = "", where: str = "") -> str:
    """The `share` quantile of a histogram over all processes, for each value of `by`."""
    grouping = f"le, {by}" if by else "le"
    matchers = f"@,{where}" if where else "@"
    return (
        f"histogram_quantile({share:g},"
        f" sum by ({grouping}) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval])))"
    )


def quantiles(histogram: str, *, where: str = "") -> dict[str, str]:
    return {
        f"p{share:.0%}".removesuffix("%"): quantile(share, histogram, where=where)
        for share in (0.5, 0.95, 0.99)
    }


def rate(counter: str, *, by: str = "", where: str = "") -> str:
    """The rate of a counter over all processes, for each value of `by`."""
    grouping = f" by ({by}) " if by else ""
    matchers = f"@,{where}" if where else "@"
    return f"sum{grouping}(rate({counter}{{{matchers}}}[$__rate_interval]))"


def rates(counter: str, *, by: str, where: str = "") -> dict[str, str]:
    """One line for each value of `by`, which is its legend."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return {legend: rate(counter, by=by, where=where)}
