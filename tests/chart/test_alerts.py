"""Each alert, run by the rule engine of Prometheus: it fires when it should, and only then."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from chart.alert_cases import ALL_UP, CASES, WORKLOADS, Case, Series, up
from order_engine.execution import metrics  # noqa: F401 - fills the registry
from order_engine.execution.domain.status import OrderStatus
from rq_slots import metrics as rq_metrics  # noqa: F401 - fills the registry
from support.prometheus_programs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/order-engine/alerts/order-engine.yaml"

PREFIX = "OrderEngine"
OURS = 'namespace="orders",app_kubernetes_io_instance="engine"'
POST_ROUTE = 'route="/api/orders/execute"'
ANOTHERS = 'namespace="orders",app_kubernetes_io_instance="other"'

Test = dict[str, Any]


def rendered() -> str:
    """The rules as the chart renders them."""
    return (
        RULES.read_text()
        .replace("%NAMESPACE%", "orders")
        .replace("%RELEASE%", "engine")
        .replace("%RUNBOOK%", "https://example.org/runbook.md")
    )


RULE_OF: Mapping[str, Any] = {
    rule["alert"].removeprefix(PREFIX): rule
    for group in yaml.safe_load(rendered())["groups"]
    for rule in group["rules"]
}


@pytest.fixture
def tool() -> Path:
    found = program("promtool")
    if found is None:
        pytest.skip("no promtool, and no Debian package `prometheus` to take it from")
    return found


def outcome(tool: Path, directory: Path, test: Test, *, names: Iterable[str] = RULE_OF) -> str:
    """The errors that promtool finds in these rules (default: all); empty when there are none."""
    rules = [RULE_OF[name] for name in names]
    (directory / "rules.yaml").write_text(
        json.dumps({"groups": [{"name": "chosen", "rules": rules}]})
    )
    file = directory / "tests.yaml"
    file.write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )
    ran = subprocess.run(
        [tool, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def inputs(series: Series, *, labels: str = OURS) -> list[Mapping[str, str]]:
    return [
        {"series": name.replace("@", labels), "values": values} for name, values in series.items()
    ]


def alert_test(name: str, series: Series, case: Case, *, fires: bool, labels: str = OURS) -> Test:
    rule = RULE_OF[name]
    alert = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": {**rule["annotations"], "summary": case.summary},
    }
    return {
        "interval": "1m",
        "input_series": inputs(series, labels=labels),
        "alert_rule_test": [
            {
                "eval_time": case.at,
                "alertname": PREFIX + name,
                "exp_alerts": [alert] if fires else [],
            }
        ],
    }


def nothing_fires(series: Series, *, at: Sequence[str]) -> Test:
    return {
        "interval": "1m",
        "input_series": inputs(series),
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": each, "exp_samples": []}
            for each in at
        ],
    }


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == RULE_OF.keys()


def test_promtool_accepts_the_rules(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(rendered())
    ran = subprocess.run(
        [tool, "check", "rules", "--lint-fatal", tmp_path / "rules.yaml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires(name: str, tool: Path, tmp_path: Path) -> None:
    case = CASES[name]
    test = alert_test(name, case.fires, case, fires=True)

    assert outcome(tool, tmp_path, test, names=[name]) == ""


@pytest.mark.parametrize("name", CASES)
def test_an_alert_stays_quiet(name: str, tool: Path, tmp_path: Path) -> None:
    case = CASES[name]
    test = alert_test(name, case.quiet, case, fires=False)

    assert outcome(tool, tmp_path, test, names=[name]) == ""


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"WorkloadDown"}))
def test_an_alert_ignores_other_releases(name: str, tool: Path, tmp_path: Path) -> None:
    case = CASES[name]
    others = alert_test(name, case.fires, case, fires=False, labels=ANOTHERS)

    assert outcome(tool, tmp_path, others, names=[name]) == ""


@pytest.mark.parametrize("missing", WORKLOADS)
def test_each_missing_workload_is_reported(missing: str, tool: Path, tmp_path: Path) -> None:
    case = CASES["WorkloadDown"]
    case = Case(
        fires=up({name: values for name, values in ALL_UP.items() if name != missing}),
        quiet={},
        summary=f"No {missing} is up",
        labels={**case.labels, "app_kubernetes_io_component": missing},
    )
    test = alert_test("WorkloadDown", case.fires, case, fires=True)

    assert outcome(tool, tmp_path, test, names=["WorkloadDown"]) == ""


def test_every_dispatcher_is_one_of_the_workloads() -> None:
    dispatchers = {f"status-dispatcher-{status}" for status in OrderStatus}

    assert {"gateway", "order-worker", "ws-gateway", *dispatchers} == set(WORKLOADS)


def fresh(workload: str) -> Series:
    """The metrics of a process that has just started: no series with labels of the engine yet."""
    process = f'@,app_kubernetes_io_component="{workload}",pod="{workload}-1"'
    own = {
        f"{sample.name}{{{process}{le(sample.labels)}}}": f"{sample.value:g}x60"
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.labels.keys() <= {"le"} and family.type != "info"
    }
    return {**own, f'order_engine_build_info{{{process},version="0.1.0"}}': "1x60"}


def le(labels: Mapping[str, str]) -> str:
    return "".join(f',{name}="{value}"' for name, value in labels.items())


def test_a_fresh_and_idle_fleet_fires_nothing(tool: Path, tmp_path: Path) -> None:
    series = dict(up(ALL_UP))
    for workload in WORKLOADS:
        series.update(fresh(workload))

    assert outcome(tool, tmp_path, nothing_fires(series, at=("1m", "10m", "30m", "1h"))) == ""


def test_a_busy_fleet_fires_nothing(tool: Path, tmp_path: Path) -> None:
    series = {
        **up(ALL_UP),
        'order_engine_orders_waiting{@,pod="g"}': "500x60",
        'order_engine_orders_stuck{@,pod="g"}': "0x60",
        'order_engine_orders_moved_total{@,status="confirmed"}': "0+95x60",
        'order_engine_orders_moved_total{@,status="failed"}': "0+5x60",
        'order_engine_orders_claimed_total{@,way="hint"}': "0+98x60",
        'order_engine_orders_claimed_total{@,way="started"}': "0+2x60",
        'order_engine_queue_depth_jobs{@,pod="g",queue="orders"}': "500x60",
        'order_engine_queue_oldest_job_seconds{@,pod="g",queue="orders"}': "300x60",
        'rq_slots_jobs_started_total{@,queue="orders"}': "0+98x60",
        'rq_slots_jobs_finished_total{@,queue="orders",outcome="succeeded"}': "0+98x60",
        'rq_slots_capacity{@,pod="w",queue="orders"}': "10x60",
        'rq_slots_busy{@,pod="w",queue="orders"}': "6x60",
        f'order_engine_http_requests_total{{@,{POST_ROUTE},method="POST",code="201"}}': "0+500x60",
        f'order_engine_http_requests_total{{@,{POST_ROUTE},method="POST",code="429"}}': "0+100x60",
        f'order_engine_http_request_seconds_bucket{{@,{POST_ROUTE},le="0.25"}}': "0+600x60",
        f"order_engine_http_request_seconds_count{{@,{POST_ROUTE}}}": "0+600x60",
        'order_engine_ws_slow_readers_total{@,bound="frames"}': "0+1x60",
        'order_engine_ws_connections_opened_total{@,resumed="yes"}': "0+100x60",
        "order_engine_ws_frames_sent_total{@}": "0+500x60",
        'order_engine_ws_events_read_total{@,reason="connect"}': "0+200x60",
    }

    assert outcome(tool, tmp_path, nothing_fires(series, at=("5m", "30m", "1h"))) == ""
