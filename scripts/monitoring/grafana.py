"""Dashboards as JSON for Grafana."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, timeseries
from grafana_foundation_sdk.builders import common as part
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.dashboard import MATCHERS, Dashboard, Kind, Panel
from monitoring.rule import PREFIX, RUNBOOK, anchor

TAG = "order-engine"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


def document(dashboard: Dashboard) -> str:
    """The dashboard's JSON."""
    board = (
        grafana.Dashboard(f"Order engine / {dashboard.title}")
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            grafana.DashboardLink("Order engine")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(
            grafana.DashboardLink("Runbook")
            .type(DashboardLinkType.LINK)
            .icon("doc")
            .url(RUNBOOK)
            .target_blank(True)
        )
        .annotation(_alerts_that_fire())
    )
    for variable in _variables():
        board.with_variable(variable)
    ids = iter(range(1, 1000))
    for row in dashboard.rows:
        board.with_row(grafana.Row(row.title).id(next(ids)))
        for panel in row.panels:
            board.with_panel(_panel(panel).id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board.build()) + "\n"


def _variables() -> Sequence[Any]:
    return (
        grafana.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _label_variable("namespace", "Namespace", label="namespace", where=""),
        # a label of the pods; empty when the scrape does not keep it
        _label_variable(
            "release",
            "Release",
            label="app_kubernetes_io_instance",
            where='{namespace="$namespace"}',
        ),
    )


def _label_variable(name: str, title: str, *, label: str, where: str) -> Any:
    """A single value, at first the first one; never all, since some queries take a `max`."""
    return (
        grafana.QueryVariable(name)
        .label(title)
        .hide(VariableHide.DONT_HIDE)
        .datasource(SOURCE)
        .query(
            {
                "query": f"label_values(order_engine_build_info{where},{label})",
                "refId": name,
            }
        )
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .include_all(False)
        .multi(False)
    )


def _alerts_that_fire() -> Any:
    chosen = 'namespace="$namespace",release="$release"'  # labels of our alerts
    alerts = f'alertname=~"{PREFIX}.+",alertstate="firing",{chosen}'
    return (
        grafana.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .hide(False)
        .icon_color("red")
        .expr(f"max by (alertname) (ALERTS{{{alerts}}})")
    )


def _panel(panel: Panel) -> Any:
    built = KINDS[panel.kind](panel)
    built.title(panel.title).description(panel.description).datasource(SOURCE)
    built.unit(panel.unit).span(panel.width).height(panel.height)
    if panel.when_none is not None:
        built.no_value(panel.when_none)
    if panel.alert is not None:
        built.links(
            [
                grafana.DashboardLink(f"Runbook: {panel.alert}")
                .type(DashboardLinkType.LINK)
                .url(f"{RUNBOOK}#{anchor(panel.alert)}")
                .target_blank(True)
            ]
        )
    for index, (legend, query) in enumerate(panel.queries.items()):
        built.with_target(_target(panel.kind, legend, query).ref_id(chr(ord("A") + index)))
    return built


def _target(kind: Kind, legend: str, query: str) -> Dataquery:
    target = Dataquery().expr(query.replace("@", MATCHERS)).legend_format(legend).datasource(SOURCE)
    if kind is Kind.HEAT:
        return target.format(PromQueryFormat.HEATMAP).range()
    return target.instant() if kind in (Kind.BARS, Kind.NUMBER) else target.range()


def _lines(panel: Panel) -> Any:
    built = (
        timeseries.Panel()
        .min(0)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .tooltip(
            part.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(
            part.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
    )
    if panel.bad_above is not None:
        built.thresholds(_thresholds(panel.bad_above)).thresholds_style(
            part.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return built


def _stack(panel: Panel) -> Any:
    return (
        _lines(panel)
        .fill_opacity(40)
        .stacking(part.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    )


def _number(panel: Panel) -> Any:
    built = (
        stat.Panel()
        .reduce_options(part.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
    )
    if panel.bad_above is None:
        return built.color_scheme(
            grafana.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text")
        )
    return built.color_scheme(grafana.FieldColor().mode(FieldColorModeId.THRESHOLDS)).thresholds(
        _thresholds(panel.bad_above)
    )


def _bars(_: Panel) -> Any:
    return (
        bargauge.Panel()
        .min(0)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.GRADIENT)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .color_scheme(grafana.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .reduce_options(part.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def _heat(panel: Panel) -> Any:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges"))
        .scale_distribution(part.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
    )


def _thresholds(bad_above: float) -> grafana.ThresholdsConfig:
    return (
        grafana.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(color="green"), Threshold(color="red", value=bad_above)])
    )


KINDS: Mapping[Kind, Callable[[Panel], Any]] = {
    Kind.LINES: _lines,
    Kind.STACK: _stack,
    Kind.NUMBER: _number,
    Kind.BARS: _bars,
    Kind.HEAT: _heat,
}
