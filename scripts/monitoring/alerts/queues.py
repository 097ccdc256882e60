"""Jobs that are not started, or fail."""

from monitoring.rule import Alert

QUEUES = (
    Alert(
        name="QueueStalled",
        severity="warning",
        query="""
max by (queue) (order_engine_queue_depth_jobs{@}) > 0
unless on (queue)
sum by (queue) (rate(rq_slots_jobs_started_total{@}[5m])) > 0
""",
        lasting="5m",
        summary="{{ $value }} jobs wait in {{ $labels.queue }}, and none was started for 5 minutes",
        description="The queue is suspended, it has no workers, or all their slots hang. A rate limit"
        " alone never stops all starts for 5 minutes.",
    ),
    Alert(
        name="SlotsExhausted",
        severity="warning",
        query="""
sum by (queue) (rq_slots_busy{@}) / sum by (queue) (rq_slots_capacity{@}) > 0.95
and on (queue)
max by (queue) (order_engine_queue_depth_jobs{@}) > 0
""",
        lasting="15m",
        summary="All slots of {{ $labels.queue }} are busy while jobs wait",
        description="More replicas or slots would start jobs sooner, if the rate limit allows.",
    ),
    Alert(
        name="WithoutRedis",
        severity="warning",
        query="sum by (queue) (rq_slots_without_redis{@}) > 0",
        lasting="2m",
        summary="{{ $value }} workers of {{ $labels.queue }} are without Redis",
        description="Orders are still executed, from PostgreSQL, up to 3 s later. Each process applies"
        " the rate limit for itself.",
    ),
    Alert(
        name="RedisUnusable",
        severity="warning",
        query="sum by (queue) (rq_slots_redis_unusable{@}) > 0",
        lasting="2m",
        summary="{{ $value }} workers of {{ $labels.queue }} cannot use what Redis holds",
        description="A key has a wrong type. Orders are executed from PostgreSQL meanwhile. FLUSHALL"
        " is a full cure.",
    ),
    Alert(
        name="HintsDropped",
        severity="warning",
        query="sum by (queue) (rate(order_engine_hints_dropped_total{@}[5m])) > 0",
        lasting="5m",
        summary="{{ $value | humanize }} jobs/s cannot be written to {{ $labels.queue }}",
        description="Redis does not accept them. Recovery and the position check do the work later.",
    ),
    Alert(
        name="QuarantineGrows",
        severity="warning",
        query="sum by (queue) (increase(rq_slots_jobs_quarantined_total{@}[30m])) > 0",
        lasting="0s",
        summary="{{ $labels.queue }} received jobs that cannot be read",
        description="A program writes malformed jobs, or jobs are damaged.",
    ),
    Alert(
        name="JobsFailing",
        severity="warning",
        query="""
sum by (queue) (rate(rq_slots_jobs_finished_total{@,outcome="failed"}[10m]))
/
sum by (queue) (rate(rq_slots_jobs_finished_total{@}[10m]))
> 0.05
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the jobs of {{ $labels.queue }} fail",
        description="Jobs end with an error of the program, which is in the logs. An order that fails"
        " is not a failed job.",
    ),
)
