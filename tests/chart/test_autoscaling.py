"""What KEDA asks of Prometheus: metrics that there are, of this release, and what they come to.

The queries are not run here; their arithmetic is read off.
"""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from chart.scenarios import RENDERED, SECRETS, scaled_by
from order_engine.execution import metrics
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import ORDER_QUEUE, status_queue
from rq_slots import metrics as rq_metrics
from support.helm import NAMESPACE, RELEASE, Object, Values, named, of_kind, rendered
from support.promql import uses

KNOWN = {
    sample
    for family in REGISTRY.collect()
    for sample in (family.name, f"{family.name}_total", f"{family.name}_count")
}
OF_THIS_RELEASE = {("namespace", NAMESPACE), ("app_kubernetes_io_instance", RELEASE)}
GAUGES_OF_EVERY_GATEWAY = {"order_engine_queue_depth_jobs"}

SCENARIOS = ("keda", "keda-without-limits", "one-of-each-autoscaler")


def trigger(name: str, values: Values) -> dict[str, str]:
    scaled = named(rendered(SECRETS | dict(values)), "ScaledObject", name)
    return dict(scaled["spec"]["triggers"][0]["metadata"])


def queries(scenario: str) -> dict[str, str]:
    return {
        part["metadata"]["labels"]["app.kubernetes.io/component"]: entry["metadata"]["query"]
        for part in of_kind(RENDERED[scenario].objects(), "ScaledObject")
        for entry in part["spec"]["triggers"]
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_queried_metric_exists(scenario: str) -> None:
    assert metrics
    assert rq_metrics  # importing both registers them

    for query in queries(scenario).values():
        assert {use.metric for use in uses(query)} <= KNOWN


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_queries_select_one_release(scenario: str) -> None:
    for query in queries(scenario).values():
        for use in uses(query):
            assert use.matchers >= OF_THIS_RELEASE


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_metric_that_every_gateway_exports_is_not_summed(scenario: str) -> None:
    for query in queries(scenario).values():
        for use in uses(query):
            if use.metric in GAUGES_OF_EVERY_GATEWAY:
                assert use.inside[-1] == "max"


def test_each_worker_scales_by_its_own_queue() -> None:
    asked = {
        name: {value for use in uses(query) for label, value in use.matchers if label == "queue"}
        for name, query in queries("keda").items()
    }

    assert asked == {
        "gateway": set(),
        "ws-gateway": set(),
        "order-worker": {ORDER_QUEUE},
        **{f"status-dispatcher-{status}": {status_queue(status)} for status in OrderStatus},
    }


@pytest.mark.parametrize(
    ("limit", "order_seconds", "most"), [(100, 10, "16.66"), (600, 5, "50"), (6, 10, "1")]
)
def test_the_rate_limit_bounds_the_number_of_order_workers(
    limit: int, order_seconds: int, most: str
) -> None:
    config = {"QUEUE_RATE_LIMIT_PER_MINUTE": limit, "QUEUE_MAX_CONCURRENCY": 20}
    asked = trigger(
        "order-worker",
        {"orderWorker": {"config": config, **scaled_by("keda", orderSeconds=order_seconds)}},
    )

    assert asked["query"].startswith("clamp_max(max(order_engine_queue_depth_jobs{")
    assert asked["query"].rpartition(", ")[2].startswith(most)
    assert asked["threshold"] == "20"


def test_the_rate_limit_sets_the_number_of_dispatchers() -> None:
    asked = trigger(
        "status-dispatcher-failed",
        {"statusDispatcher": {"config": {"WS_WORKER_RATE_LIMIT": 3000}, **scaled_by("keda")}},
    )

    assert "increase(rq_slots_jobs_started_total" in asked["query"]
    assert asked["threshold"] == "3000"


@pytest.mark.parametrize("name", ["order-worker", "status-dispatcher-failed"])
def test_without_a_rate_limit_work_is_divided_by_slots(name: str) -> None:
    asked = queries("keda-without-limits")[name]

    assert "clamp_max" not in asked
    assert "rq_slots_jobs_started_total" not in asked


def test_an_autoscaler_has_its_bounds_and_behavior() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    bounds: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 7, "behavior": behavior}

    def spec(kind: str, chosen: str) -> Object:
        group = {"autoscaling": {chosen: {"enabled": True}, **bounds}}
        return dict(named(rendered(SECRETS | {"gateway": group}), kind, "gateway")["spec"])

    hpa = spec("HorizontalPodAutoscaler", "hpa")
    keda = spec("ScaledObject", "keda")

    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (2, 7)
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (2, 7)
    assert hpa["behavior"] == behavior
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == behavior
