"""Dashboards as values: what a panel asks, and what it tells the human who looks at it.

In queries, `@` stands for the matchers that choose one release; a dashboard takes them from its
variables, an alert from the chart's render.
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
    """`queries` is legend -> PromQL. `bad_above` is where its alert fires: drawn as a dashed line.

    `when_none` is shown where a query has no answer: most counters of faults do not exist before the
    first one. `alert` names the runbook's section.
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
    """A band of panels under a title, each line of them exactly WIDTH wide."""

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
