"""Rules for every query over the metrics of the engine: each yields its violations."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import REGISTRY, Histogram
from prometheus_client.metrics import MetricWrapperBase

from chart.alert_cases import WORKLOADS
from order_engine.execution import metrics
from order_engine.execution.domain.status import OrderStatus
from order_engine.gateway.monitor import QUEUES
from order_engine.serving import metrics as serving_metrics
from rq_slots import metrics as rq_metrics
from support.promql import Use, uses

SERVICES = Path(__file__).parents[2] / "services"
SOURCES = "".join(path.read_text() for path in SERVICES.rglob("*.py"))

# Every gateway exports the same value from Redis or PostgreSQL: a sum would count it once per gateway.
SHARED = {
    "order_engine_invariant_violations_total",
    "order_engine_orders_stuck",
    "order_engine_orders_waiting",
    "order_engine_queue_depth_jobs",
    "order_engine_queue_oldest_job_seconds",
}
# Counters whose value is queried, not their rate: one event is too many, whenever it happened.
TOTALS = {"order_engine_invariant_violations_total"}

# Series that Prometheus makes itself, and labels that the scrape adds to every series.
OF_PROMETHEUS = {
    "up": frozenset[str](),
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "release"}),
}
OF_THE_SCRAPE = {"namespace", "pod", "app_kubernetes_io_instance", "app_kubernetes_io_component"}
CHOICE = {"namespace", "app_kubernetes_io_instance"}
# Labels with a known list of values, and labels with any value; other values must be literals in the code.
VALUES: Mapping[str, Collection[str]] = {
    "app_kubernetes_io_component": WORKLOADS,
    "queue": QUEUES,
    "status": tuple(OrderStatus),
}
FREE = {"le", "code", *(OF_THE_SCRAPE - VALUES.keys()), *OF_PROMETHEUS["ALERTS"]}
OF_INFO = {"order_engine_build": frozenset({"version"})}  # its labels in execution/admin.py

OF_THE_PROCESS = ("process_", "python_")
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "info": ("_info",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A metric that the code exports. `bounds` are the bounds of a histogram's buckets."""

    family: str
    kind: str
    labels: frozenset[str]
    bounds: frozenset[float] = frozenset()


def own_metrics() -> Iterator[MetricWrapperBase]:
    values = (*vars(metrics).values(), *vars(serving_metrics).values(), *vars(rq_metrics).values())
    return (value for value in values if isinstance(value, MetricWrapperBase))


def family_of(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    return str(family.name)


def _exported() -> Iterator[tuple[str, Series]]:
    """The metrics of the engine and of the process, by the name of their series."""
    for metric in own_metrics():
        (family,) = metric.describe()
        # prometheus_client lists these two nowhere while there are no samples
        labels = frozenset(metric._labelnames) | OF_INFO.get(family.name, frozenset())
        bounds = frozenset(metric._upper_bounds) if isinstance(metric, Histogram) else frozenset()
        for suffix in SUFFIXES[family.type]:
            yield (
                family.name + suffix,
                Series(
                    family=family.name,
                    kind=family.type,
                    labels=labels | {"le"} if suffix == "_bucket" else labels,
                    bounds=bounds,
                ),
            )
    for family in REGISTRY.collect():
        if family.name.startswith(OF_THE_PROCESS):
            for sample in family.samples:
                labels = frozenset(sample.labels)
                yield sample.name, Series(family=family.name, kind=family.type, labels=labels)


EXPORTED = dict(_exported())


def faults(query: str) -> Iterator[str]:
    """All violations of a query."""
    for use in uses(query):
        series = EXPORTED.get(use.metric)
        if series is None and use.metric not in OF_PROMETHEUS:
            yield f"nothing exports {use.metric}"
            continue
        for rule in RULES_OF_ALL:
            yield from rule(use)
        for rule_of_ours in RULES_OF_OURS if series else ():
            yield from rule_of_ours(use, EXPORTED[use.metric])


def _knows_its_labels(use: Use) -> Iterator[str]:
    series = EXPORTED.get(use.metric)
    known = series.labels if series else OF_PROMETHEUS[use.metric]
    for label in sorted(use.labels - known - OF_THE_SCRAPE):
        yield f"{use.metric} has no label {label}"


def _chooses_a_release(use: Use) -> Iterator[str]:
    chosen = {label for label, _ in use.matchers}
    needed = {"namespace", "release"} if use.metric == "ALERTS" else CHOICE
    for label in sorted(needed - chosen):
        yield f"{use.metric} of every {label}"


def _knows_values(use: Use) -> Iterator[str]:
    for label, value in use.matchers:
        if label in VALUES:
            is_known = any(re.fullmatch(value, known) for known in VALUES[label])
        else:
            literal = value.replace(".+", "[a-z_]+")
            is_known = label in FREE or re.search(f'"{literal}"', SOURCES) is not None
        if not is_known:
            yield f"no {label} of {use.metric} is {value}"


def _counts_shared_facts_once(use: Use, _: Series) -> Iterator[str]:
    innermost = use.aggregations[-1][0] if use.aggregations else "nothing"
    if use.metric in SHARED and innermost != "max":
        yield f"{use.metric}, which every gateway exports, in {innermost} and not in max"


def _asks_counters_for_their_growth(use: Use, series: Series) -> Iterator[str]:
    counts = series.kind == "counter" or use.metric.endswith(("_bucket", "_count", "_sum"))
    growth = {"rate", "increase"}
    if counts and use.metric not in TOTALS:
        if not use.inside or use.inside[-1] not in growth:
            yield f"value of {use.metric} without a rate: it restarts at 0 with each process"
        if not {"sum", "max"} & set(use.inside):
            yield f"{use.metric} of each process for itself"
    if series.kind == "gauge" and growth & set(use.inside):
        yield f"the growth of {use.metric}, a gauge"


def _sums_buckets(use: Use, series: Series) -> Iterator[str]:
    if "histogram_quantile" in use.inside and (
        use.inside[-3:] != ("histogram_quantile", "sum", "rate")
        or "le" not in use.aggregations[-1][1]
    ):
        yield f"a quantile of {use.metric} without sum by (le) (rate())"
    for label, value in use.matchers:
        if label == "le" and float(value) not in series.bounds:
            yield f"{use.metric} has no bucket {value}"


RULES_OF_ALL: tuple[Callable[[Use], Iterator[str]], ...] = (
    _knows_its_labels,
    _chooses_a_release,
    _knows_values,
)
RULES_OF_OURS: tuple[Callable[[Use, Series], Iterator[str]], ...] = (
    _counts_shared_facts_once,
    _asks_counters_for_their_growth,
    _sums_buckets,
)
