"""Dashboards, alerts and autoscalers query every metric that the code exports, and no others."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest
import yaml

from chart.alert_cases import WORKLOADS
from chart.monitored import ALERTS, BOARDS, QUERIES, ROOT, RULES
from chart.query_rules import EXPORTED, OF_THE_SCRAPE, SHARED, family_of, faults, own_metrics
from chart.scenarios import RENDERED
from order_engine.execution import metrics
from support.helm import NAMESPACE, RELEASE, of_kind
from support.promql import uses

# Metrics that nothing shows, and why not.
UNSHOWN: Mapping[str, str] = {
    "order_engine_connections_ended": "clients that exceed a bound; a flood also shows in event_loop_lag",
    "rq_slots_jobs_expelled": "follows jobs_quarantined, which is shown, by a day",
    "rq_slots_jobs_unwritten": "stands above 0 only while without_redis, which is shown, is 1",
    "rq_slots_redis_calls_failed": "names the queue whose calls set without_redis to 1, which is shown",
}

OURS = 'namespace="a",app_kubernetes_io_instance="b"'
WRONG = {
    f"sum(rate(gone_total{{{OURS}}}[5m]))": "nothing exports gone_total",
    f"max(orders_waiting_total{{{OURS}}})": "nothing exports orders_waiting_total",
    f"sum by (pool) (rate(order_engine_orders_placed_total{{{OURS}}}[5m]))": "order_engine_orders_placed_total has no label pool",
    f'sum(rq_slots_capacity{{{OURS},venue="raydium"}})': "rq_slots_capacity has no label venue",
    'sum(rq_slots_capacity{namespace="a"})': "rq_slots_capacity of every app_kubernetes_io_instance",
    f'sum(rate(order_engine_orders_moved_total{{{OURS},status="filled"}}[5m]))': (
        "no status of order_engine_orders_moved_total is filled"
    ),
    f'sum(rq_slots_capacity{{{OURS},queue="order-status-lost"}})': "no queue of rq_slots_capacity is order-status-lost",
    f'sum(up{{{OURS},app_kubernetes_io_component="cron"}})': (
        "no app_kubernetes_io_component of up is cron"
    ),
    f"sum by (queue) (order_engine_queue_depth_jobs{{{OURS}}})": (
        "order_engine_queue_depth_jobs, which every gateway exports, in sum and not in max"
    ),
    f"order_engine_orders_waiting{{{OURS}}} > 0": (
        "order_engine_orders_waiting, which every gateway exports, in nothing and not in max"
    ),
    f"sum(order_engine_orders_placed_total{{{OURS}}})": (
        "value of order_engine_orders_placed_total without a rate: it restarts at 0 with each process"
    ),
    f"rate(order_engine_orders_placed_total{{{OURS}}}[5m])": "order_engine_orders_placed_total of each process for itself",
    f"sum(rate(rq_slots_busy{{{OURS}}}[5m]))": "the growth of rq_slots_busy, a gauge",
    f"histogram_quantile(0.9, sum by (queue) (rate(rq_slots_job_seconds_bucket{{{OURS}}}[5m])))": (
        "a quantile of rq_slots_job_seconds_bucket without sum by (le) (rate())"
    ),
    f'sum(rate(rq_slots_job_seconds_bucket{{{OURS},le="0.3"}}[5m]))': "rq_slots_job_seconds_bucket has no bucket 0.3",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_a_query_uses_exported_metrics(query: str) -> None:
    assert list(faults(query)) == []


@pytest.mark.parametrize(("query", "fault"), WRONG.items(), ids=WRONG.values())
def test_a_wrong_query_is_found(query: str, fault: str) -> None:
    assert list(faults(query)) == [fault]


def test_every_metric_is_shown_or_listed_as_not_shown() -> None:
    ours = {family_of(metric) for metric in own_metrics()}
    shown = {
        EXPORTED[use.metric].family
        for query in QUERIES.values()
        for use in uses(query)
        if use.metric in EXPORTED
    }

    assert ours - shown == UNSHOWN.keys()


def test_metrics_of_every_gateway_are_those_of_its_monitor() -> None:
    watch = (ROOT / "services/order_engine/gateway/monitor.py").read_text()
    moved = {family_of(vars(metrics)[name]) for name in re.findall(r"metrics\.([A-Z_]+)", watch)}

    assert {EXPORTED[name].family for name in SHARED} == moved


def test_the_generated_monitoring_is_up_to_date() -> None:
    program = ROOT / "scripts/generate_monitoring.py"
    checked = subprocess.run(
        [sys.executable, program, "--check"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, (
        f"run scripts/generate_monitoring.py:\n{checked.stdout}{checked.stderr}"
    )


def test_autoscalers_use_exported_metrics() -> None:
    asked = {
        trigger["metadata"]["query"]
        for scenario in RENDERED.values()
        for scaler in of_kind(scenario.objects(), "ScaledObject")
        for trigger in scaler["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    }

    assert asked
    assert {query: list(faults(query)) for query in asked} == {query: [] for query in asked}


def test_no_autoscaler_needs_a_metrics_adapter() -> None:
    kinds = {
        metric["type"]
        for scenario in RENDERED.values()
        for scaler in of_kind(scenario.objects(), "HorizontalPodAutoscaler")
        for metric in scaler["spec"]["metrics"]
    }

    assert kinds == {"Resource"}


def test_the_chart_renders_the_alerts_for_its_release() -> None:
    (rule,) = of_kind(RENDERED["monitoring"].objects(), "PrometheusRule")
    text = ALERTS.replace("%NAMESPACE%", NAMESPACE).replace("%RELEASE%", RELEASE)

    assert rule["spec"] == yaml.safe_load(text.replace("%RUNBOOK%", "docs/runbook.md"))


def test_the_chart_renders_every_dashboard() -> None:
    maps = [
        each
        for each in of_kind(RENDERED["monitoring"].objects(), "ConfigMap")
        if "-dashboard-" in each["metadata"]["name"]
    ]
    shown = [json.loads(text) for each in maps for text in each["data"].values()]

    assert {board["uid"] for board in shown} == {board["uid"] for board in BOARDS.values()}
    assert "%RUNBOOK%" not in json.dumps(shown)
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(each)) < 500_000  # a ConfigMap holds a megabyte


def test_pods_keep_the_labels_that_queries_select_by() -> None:
    monitors = of_kind(RENDERED["monitoring"].objects(), "PodMonitor")
    components = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for each in monitors
    }

    assert components == set(WORKLOADS)
    for each in monitors:
        kept = {re.sub(r"\W", "_", label) for label in each["spec"]["podTargetLabels"]}

        assert kept | {"namespace", "pod"} == OF_THE_SCRAPE  # the operator adds these two


def test_monitoring_is_off_by_default() -> None:
    objects = RENDERED["defaults"].objects()

    assert not of_kind(objects, "PrometheusRule", "PodMonitor")
    assert not [each for each in objects if "-dashboard-" in each["metadata"]["name"]]


def test_every_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    assert len(RULES) >= 12
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert "{{" not in rule["annotations"]["description"]
