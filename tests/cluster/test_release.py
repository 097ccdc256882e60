"""A release on a real cluster. The tests depend on each other and run in this order.

Clients trade during each disturbance, through NodePorts of the Services. They repeat a failed
request with the same idempotency key, which may be necessary only when the gateway or PostgreSQL is
killed.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chart.monitored import BOARD_QUERIES, BOARDS, VARIABLES, filled
from support.cluster import POLL_EVERY_S, ClientAccess, CommandFailed, Release, kubectl
from support.figures import Figures
from support.fleet import EVERY_DEPLOYABLE
from support.scraping import Prometheus
from support.steady_load import Load
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

DEMO_TIMEOUT_S = 180
SCRAPED_TIMEOUT_S = 60
GONE_TIMEOUT_S = 90
ROLL = {"defaults": {"podAnnotations": {"order-engine/rolled": "once"}}}
KEPT_BY_THE_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}

WORK_METRICS = {
    "gateway": "order_engine_orders_placed_total",
    "ws-gateway": "order_engine_ws_connections_opened_total",
}
JOBS_METRIC = "rq_slots_jobs_started_total"
NEEDED_TO_RESPOND = {"gateway", "postgres"}  # without these, requests get no response

# Queries that count errors. They have no series before the first error, which may never happen.
QUIET = {
    "datastores: Calls refused: {{batches}}",
    "datastores: Jobs not written: {{queue}}",
    "datastores: Jobs put back: {{queue}}",
    "datastores: Statements sent again: {{statement}}: {{reason}}",
    "overview: Share of 5xx: 5xx",
    "queues: Not written: {{queue}}",
    "queues: Removed without being run: recalled {{queue}}",
    "queues: Removed without being run: returned {{queue}}",
    "venues: Failed calls about sent transactions: {{venue}}",
    "venues: Quotes that failed: {{venue}}",
    "ws-gateway: Requests refused on multiplexed streams: {{code}}",
    *(f"{board}: annotation Alerts" for board in BOARDS),
}


@pytest.fixture
def load_test(release: Release, access: ClientAccess, figures: Figures) -> "LoadTest":
    return LoadTest(release, access, figures)


class LoadTest:
    """Runs clients while a test disturbs the fleet, and checks that no promise is broken."""

    def __init__(self, release: Release, access: ClientAccess, figures: Figures) -> None:
        self._release, self._access, self._figures = release, access, figures

    @contextmanager
    def during(self, what: str, *, may_retry: bool = False) -> Iterator[tuple[Load, list[str]]]:
        """Yields the load and a list for the duration of each step."""
        load, took = Load(client=self._access.client), list[str]()
        with load.running():
            load.wait_for(orders=10)
            yield load, took
            load.wait_for(orders=10)
        with self._release.databases() as databases:
            broken = load.violations(databases)
            unmatched = load.unmatched_orders(databases)
        self._figures.load(what, load, violations=len(broken), took=", ".join(took))

        assert broken == []
        assert unmatched == set()
        assert may_retry or load.retried_errors == []


@pytest.mark.timeout(1800)
def test_the_release_can_be_installed(release: Release) -> None:
    deployments = release.get("deployments")["items"]

    assert {part["metadata"]["name"] for part in deployments} == {
        release.object(name) for name in EVERY_DEPLOYABLE
    }
    assert all(part["status"]["readyReplicas"] == 1 for part in deployments)


def test_the_namespace_enforces_restricted_pod_security(release: Release) -> None:
    pod = {"containers": [{"name": "root", "image": "redis:8"}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": pod}

    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        kubectl("-n", release.namespace, "create", "-f", "-", stdin=json.dumps(manifest))


def test_the_demo_works_through_the_services(access: ClientAccess, figures: Figures) -> None:
    began = time.monotonic()
    demo = subprocess.run(
        [
            *(Path(sys.executable).parent / "order-engine", "demo"),
            *("--url", access.url, "--stream-url", access.stream_url),
            *("--api-key", access.api_key),
        ],
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT_S,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout[-3000:]
    figures.fact("order-engine demo", f"{time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("component", EVERY_DEPLOYABLE)
def test_a_workload_is_scaled_out_and_in(
    release: Release, load_test: LoadTest, component: str
) -> None:
    with load_test.during(f"`kubectl scale` {component} 1, 3, 1") as (load, took):
        took.append(f"out {release.scale(component, 3):.0f} s")
        load.wait_for(orders=20)
        work = release.metric_by_pod(WORK_METRICS.get(component, JOBS_METRIC), component)
        worked = sum(count > 0 for count in work.values())
        took.append(f"{worked} of 3 had work")
        took.append(f"in {release.scale(component, 1):.0f} s")


def test_an_upgrade_rolls_every_pod(release: Release, load_test: LoadTest) -> None:
    with load_test.during("`helm upgrade`, every pod rolled") as (_, took):
        took.append(roll(release, lambda: release.upgrade(ROLL)))


def test_a_rollback_rolls_every_pod_back(release: Release, load_test: LoadTest) -> None:
    with load_test.during("`helm rollback`, every pod rolled") as (_, took):
        took.append(roll(release, release.rollback))


def roll(release: Release, act: Callable[[], None]) -> str:
    """Replaces all pods; returns how long it took."""
    uids = {pod["metadata"]["uid"] for name in EVERY_DEPLOYABLE for pod in release.pods(name)}
    began = time.monotonic()
    act()
    waited = time.monotonic() - began
    for name in EVERY_DEPLOYABLE:
        release.wait_until_settled(name, 1)
    for name in EVERY_DEPLOYABLE:
        assert not release.ready_pods(name) & uids
    return f"{waited:.0f} s, the old pods gone after {time.monotonic() - began:.0f} s"


@pytest.mark.parametrize(
    ("component", "grace_s"),
    [
        *((name, 0) for name in EVERY_DEPLOYABLE if name not in NEEDED_TO_RESPOND),
        ("redis", 0),
        # These come last: a connection that a client on the node could not open leaves an entry in
        # the node's connection table. The next one from the same port within two minutes uses that
        # entry, bypasses the rules of the Service, and is refused.
        # PostgreSQL is not killed by force: two of its pods could use the same volume.
        ("postgres", 1),
        ("gateway", 0),
    ],
)
def test_a_killed_pod_only_delays_orders(
    release: Release, load_test: LoadTest, component: str, grace_s: int
) -> None:
    what = f"pod of {component} deleted, grace {grace_s}"
    with load_test.during(what, may_retry=component in NEEDED_TO_RESPOND) as (load, took):
        took.append(f"ready again after {release.kill(component, grace_s=grace_s):.1f} s")
        load.wait_for(orders=20)


def test_prometheus_scrapes_every_pod(release: Release, prometheus: Prometheus | None) -> None:
    if prometheus is None:
        pytest.skip("prometheus is not installed, and its Debian package is not available")

    def all_up() -> bool:
        pods = {p["metadata"]["name"] for name in EVERY_DEPLOYABLE for p in release.pods(name)}
        up = {t["labels"]["pod"] for t in prometheus.targets() if t["health"] == "up"}
        return up == pods

    wait_until(all_up, timeout_s=SCRAPED_TIMEOUT_S, what="each pod, and no other, scraped")


def test_dashboard_queries_return_data(
    release: Release, prometheus: Prometheus | None, figures: Figures
) -> None:
    if prometheus is None:
        pytest.skip("prometheus is not installed, and its Debian package is not available")
    variables = {**VARIABLES, "$namespace": release.namespace, "$release": release.name}
    empty = {
        where
        for where, query in BOARD_QUERIES.items()
        if all(
            math.isnan(float(one["value"][1])) for one in prometheus.query(filled(query, variables))
        )
    }
    figures.fact(
        "dashboard queries with data", f"{len(BOARD_QUERIES) - len(empty)} of {len(BOARD_QUERIES)}"
    )
    figures.fact("dashboard queries without", "; ".join(sorted(empty)))
    fired = prometheus.query(
        'count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
    )
    figures.fact(
        "alerts that fired", ", ".join(one["metric"]["alertname"] for one in fired) or "none"
    )

    assert empty <= QUIET


def test_uninstalling_removes_all_objects(release: Release) -> None:
    release.uninstall()
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while (remaining := _objects(release)) != KEPT_BY_THE_NAMESPACE and time.monotonic() < deadline:
        time.sleep(POLL_EVERY_S)

    assert remaining == KEPT_BY_THE_NAMESPACE


def _objects(release: Release) -> set[str]:
    """All objects in the namespace except events."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    listed = ",".join(kind for kind in kinds if not kind.startswith(("events", "pods.metrics")))
    return set(release.kubectl("get", listed, "-o", "name").split())
