"""Processes that are missing or unhealthy."""

from monitoring.rule import Alert
from order_engine.execution.deployables import WORKLOADS

FLEET = (
    Alert(
        name="WorkloadDown",
        severity="critical",
        query="\nor\n".join(
            (
                "sum by (namespace, app_kubernetes_io_instance, app_kubernetes_io_component)"
                " (up{@}) == 0",
                *(f'absent(up{{@,app_kubernetes_io_component="{each}"}})' for each in WORKLOADS),
            )
        ),
        lasting="5m",
        summary="No {{ $labels.app_kubernetes_io_component }} is up",
        description="No pod of this workload can be scraped: none exists, or none works.",
    ),
    Alert(
        name="PodDown",
        severity="warning",
        query="up{@} == 0",
        lasting="10m",
        summary="{{ $labels.pod }} cannot be scraped",
        description="The pod exists, but its admin port does not answer.",
    ),
    Alert(
        name="PodRestarts",
        severity="warning",
        query="""
max by (app_kubernetes_io_component, pod) (changes(process_start_time_seconds{@}[30m])) > 2
""",
        lasting="0s",
        summary="{{ $labels.pod }} was restarted {{ $value }} times in half an hour",
        description="It ends repeatedly: out of memory, killed by its liveness probe, or unable to start.",
    ),
    Alert(
        name="EventLoopLag",
        severity="warning",
        query="""
histogram_quantile(
  0.9,
  sum by (le, app_kubernetes_io_component, pod) (rate(order_engine_event_loop_lag_seconds_bucket{@}[5m]))
) > 0.25
""",
        lasting="10m",
        summary="The event loop of {{ $labels.pod }} is {{ $value | humanizeDuration }} late (p90)",
        description="Everything in the process waits this long: it lacks CPU, or something blocks its"
        " event loop.",
    ),
    Alert(
        name="FilesExhausted",
        severity="warning",
        query="""
max by (app_kubernetes_io_component, pod) (process_open_fds{@} / process_max_fds{@}) > 0.8
""",
        lasting="10m",
        summary="{{ $labels.pod }} has {{ $value | humanizePercentage }} of its files open",
        description="Each socket is an open file. At 100 % no client can connect.",
    ),
    Alert(
        name="VersionsMixed",
        severity="warning",
        query="count(count by (version) (order_engine_build_info{@})) > 1",
        lasting="1h",
        summary="{{ $value }} versions run side by side",
        description="This is normal during a rollout, but this rollout does not end.",
    ),
)
