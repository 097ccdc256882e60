"""The demo moves every metric that can move in a healthy fleet."""

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

# These stay at 0 in the demo; the reason says when they move.
UNMOVED = {
    "order_engine_batch_overflows": "a buffer is full",
    "order_engine_commit_repeats": "a connection was lost",
    "order_engine_invariant_violations": "a program has a fault",
    "rq_slots_jobs_expelled": "a job has been in quarantine for a day",
    "rq_slots_jobs_quarantined": "a job cannot be read",
    "rq_slots_jobs_recalled": "Redis carries out a call whose reply is lost",
    "rq_slots_jobs_returned": "PostgreSQL is away",
    "rq_slots_jobs_stale": "a dispatcher was away",
    "rq_slots_jobs_swept": "a worker was killed",
    "order_engine_connections_ended": "a client sends too much, or does not read",
    "order_engine_connections_late": "a client connects and says nothing",
    "order_engine_hints_dropped": "Redis is away",
    "order_engine_http_requests_limited": "a client asks for too much",
    "order_engine_lease_renewals_failed": "PostgreSQL is away",
    "order_engine_order_attempts": "a venue fails",
    "order_engine_orders_fenced": "a worker was taken for dead",
    "order_engine_orders_hung": "an order's workers die",
    "order_engine_orders_set_aside": "an order cannot be read",
    "order_engine_orders_stuck": "recovery does not do its work",
    "rq_slots_redis_calls_failed": "Redis is away",
    "rq_slots_redis_unusable": "a key in Redis has a value of a wrong type",
    "rq_slots_tokens_refunded": "PostgreSQL is away",
    "order_engine_venue_errors": "a venue fails",
    "rq_slots_without_redis": "Redis is away",
    "order_engine_ws_connections_cut_off": "a client does not answer a close",
    "order_engine_ws_connections_refused": "a client opens too many sockets",
    "order_engine_ws_errors_sent": "a client asks a multiplexed stream for what cannot be",
    "order_engine_ws_events_dropped": "the position check was faster than the dispatcher",
    "order_engine_ws_reads_held": "a client asks faster than it is answered",
    "order_engine_ws_resumes": "a client was cut off",
    "order_engine_ws_slow_readers": "a client does not read",
}
# These may be 0 or not when the demo has ended.
MOMENTARY = {
    "rq_slots_jobs_unwritten",
    "order_engine_leases_held",
    "order_engine_orders_waiting",
    "order_engine_pool_connections_in_use",
    "order_engine_pool_reads_waiting",
    "order_engine_queue_depth_jobs",
    "order_engine_queue_oldest_job_seconds",
    "rq_slots_busy",
    "order_engine_ws_connections",
    "order_engine_ws_events_dropped",
    "order_engine_ws_subscriptions",
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
