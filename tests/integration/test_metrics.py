"""What the demonstration moves: every metric that a healthy fleet can move."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.fleet import Deployable, running_fleet
from support.stores import Databases

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

# What stands still unless something is wrong, away, or asked for that the demo does not ask for.
UNMOVED = {
    "batch_overflows": "a buffer is full",
    "commit_repeats": "a connection was lost",
    "invariant_violations": "a program has a fault",
    "jobs_expelled": "a job has been in quarantine for a day",
    "jobs_quarantined": "a job cannot be read",
    "jobs_recalled": "Redis carries out a call whose reply is lost",
    "jobs_returned": "PostgreSQL is away",
    "jobs_stale": "a dispatcher was away",
    "jobs_swept": "a worker was killed",
    "connections_ended": "a client sends too much, or does not read",
    "connections_late": "a client connects and says nothing",
    "hints_dropped": "Redis is away",
    "http_requests_limited": "a client asks for too much",
    "lease_renewals_failed": "PostgreSQL is away",
    "order_attempts": "a venue fails",
    "orders_fenced": "a worker was taken for dead",
    "orders_hung": "an order's workers die",
    "orders_stuck": "recovery does not do its work",
    "redis_calls_failed": "Redis is away",
    "tokens_refunded": "PostgreSQL is away",
    "venue_errors": "a venue fails",
    "without_redis": "Redis is away",
    "ws_connections_cut_off": "a client does not answer a close",
    "ws_connections_refused": "a client opens too many sockets",
    "ws_errors_sent": "a client asks a multiplexed stream for what cannot be",
    "ws_events_dropped": "the position check was faster than the dispatcher",
    "ws_reads_held": "a client asks faster than it is answered",
    "ws_resumes": "a client was cut off",
    "ws_slow_readers": "a client does not read",
}
# Looked at while nothing is under way, these may stand at 0 or not.
MOMENTARY = {
    "jobs_unwritten",
    "leases_held",
    "orders_waiting",
    "pool_connections_in_use",
    "pool_reads_waiting",
    "queue_depth_jobs",
    "queue_oldest_job_seconds",
    "slots_busy",
    "ws_connections",
    "ws_events_dropped",
    "ws_subscriptions",
}


def moved(deployable: Deployable) -> Iterator[tuple[str, bool]]:
    """Each metric of our own, and whether any of its samples is above zero."""
    url = f"http://127.0.0.1:{deployable.ports['ADMIN_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(("python_", "process_")):
            yield family.name, any(sample.value for sample in family.samples)


def test_the_demo_moves_every_metric_that_health_can_move(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    standing: dict[str, bool] = {}
    with running_fleet(databases, redis_url, tmp_path, {}) as fleet:
        subprocess.run(
            [
                Path(sys.executable).parent / "order-engine",
                "demo",
                f"--url=http://127.0.0.1:{fleet['gateway'].ports['PORT']}",
                f"--stream-url=http://127.0.0.1:{fleet['ws-gateway'].ports['PORT']}",
            ],
            check=True,
            timeout=180,
        )
        for deployable in fleet.deployables.values():
            for name, has_moved in moved(deployable):
                standing[name] = standing.get(name, False) or has_moved

    unmoved = {name for name, has_moved in standing.items() if not has_moved}

    assert unmoved - MOMENTARY == UNMOVED.keys() - MOMENTARY
