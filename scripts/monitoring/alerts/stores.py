"""PostgreSQL and Redis that are slow, overloaded or locked."""

from monitoring.rule import Alert

STORES = (
    Alert(
        name="CommitSlow",
        severity="warning",
        query="""
histogram_quantile(0.99, sum by (le) (rate(order_engine_commit_seconds_bucket{@,statement!~"chain_.+"}[5m]))) > 0.5
""",
        lasting="10m",
        summary="Commits take {{ $value | humanizeDuration }} (p99)",
        description="PostgreSQL is slow, or rows are locked. This slows everything else.",
    ),
    Alert(
        name="CommitRepeats",
        severity="warning",
        query="sum by (reason) (rate(order_engine_commit_repeats_total{@}[5m])) > 0.1",
        lasting="10m",
        summary="{{ $value | humanize }} statements/s are sent again ({{ $labels.reason }})",
        description="Connections to PostgreSQL break, or another session locks the engine's rows.",
    ),
    Alert(
        name="ReadsWaiting",
        severity="warning",
        query="""
max by (app_kubernetes_io_component, pool) (min_over_time(order_engine_pool_reads_waiting{@}[5m])) > 0
""",
        lasting="5m",
        summary="At least {{ $value }} reads wait for a connection of {{ $labels.pool }}",
        description="For ten minutes the pool of a process was exhausted in every measurement: queries"
        " are slow, or too many.",
    ),
    Alert(
        name="BatchesFull",
        severity="warning",
        query="sum by (batches) (rate(order_engine_batch_overflows_total{@}[5m])) > 0",
        lasting="5m",
        summary="{{ $value | humanize }} calls/s are refused: the backlog of {{ $labels.batches }}"
        " is full",
        description="The store behind it is slower than the calls come in.",
    ),
)
