"""The row about processes on the overview."""

from monitoring.dashboard import Kind, Panel, Row, quantile

PROCESSES = Row(
    title="Processes",
    panels=[
        Panel(
            title="Pods up",
            description="Pods whose admin port answers. Each workload needs at least one.",
            queries={
                "{{app_kubernetes_io_component}}": "sum by (app_kubernetes_io_component) (up{@})"
            },
            unit="short",
            width=6,
            kind=Kind.BARS,
            alert="WorkloadDown",
        ),
        Panel(
            title="Versions",
            description="Processes of each version. Two at once are normal only during a rollout.",
            queries={"{{version}}": "count by (version) (order_engine_build_info{@})"},
            unit="short",
            width=6,
            alert="VersionsMixed",
        ),
        Panel(
            title="Restarts in half an hour",
            description="Normally 0. More than 2 of one pod is a crash loop.",
            queries={
                "{{pod}}": "max by (pod) (changes(process_start_time_seconds{@}[30m]))",
            },
            unit="short",
            width=6,
            bad_above=2,
            alert="PodRestarts",
        ),
        Panel(
            title="Open files",
            description="Share of the limit of a process; each socket is one. Dashed: 80 %.",
            queries={
                "{{app_kubernetes_io_component}}": "max by (app_kubernetes_io_component)"
                " (process_open_fds{@} / process_max_fds{@})"
            },
            unit="percentunit",
            width=6,
            bad_above=0.8,
            alert="FilesExhausted",
        ),
        Panel(
            title="CPU of the busiest pod",
            description="Each process has one event loop. Near 100 % of a core (dashed: 90 %) it lags,"
            " and more replicas are needed.",
            queries={
                "{{app_kubernetes_io_component}}": "max by (app_kubernetes_io_component)"
                " (rate(process_cpu_seconds_total{@}[$__rate_interval]))"
            },
            unit="percentunit",
            bad_above=0.9,
            alert="EventLoopLag",
        ),
        Panel(
            title="Lag of event loops (p90)",
            description="Of the worst pod. Milliseconds are normal. Above 250 ms (dashed) everything in"
            " that process waits: it lacks CPU, or something blocks its event loop.",
            queries={
                "{{app_kubernetes_io_component}}": "max by (app_kubernetes_io_component) ("
                + quantile(
                    0.9,
                    "order_engine_event_loop_lag_seconds",
                    by="app_kubernetes_io_component, pod",
                )
                + ")"
            },
            unit="s",
            bad_above=0.25,
            alert="EventLoopLag",
        ),
        Panel(
            title="Memory of the largest pod",
            description="Resident memory. Steady is normal; if it keeps growing, it ends at the limit of"
            " the pod.",
            queries={
                "{{app_kubernetes_io_component}}": "max by (app_kubernetes_io_component)"
                " (process_resident_memory_bytes{@})"
            },
            unit="bytes",
        ),
    ],
)
