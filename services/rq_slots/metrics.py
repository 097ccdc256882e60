"""The worker's metrics: base units, no ids in labels."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter

FAST_SECONDS = (0.001, 0.005, 0.01, 0.05)
SLOW_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 20, 30, 60, 120, 300)
JOB_BUCKETS = (*FAST_SECONDS, *SLOW_SECONDS)

JOBS_STARTED = Counter("rq_slots_jobs_started_total", "Jobs claimed from a queue", ["queue"])
JOBS_FINISHED = Counter("rq_slots_jobs_finished_total", "Jobs ended", ["queue", "outcome"])
JOBS_QUARANTINED = Counter(
    "rq_slots_jobs_quarantined_total", "Malformed jobs moved to quarantine", ["queue"]
)
JOBS_SWEPT = Counter("rq_slots_jobs_swept_total", "Abandoned hints deleted", ["queue"])
JOBS_EXPELLED = Counter(
    "rq_slots_jobs_expelled_total", "Jobs deleted from quarantine: too old, or too many", ["queue"]
)
JOBS_RETURNED = Counter(
    "rq_slots_jobs_returned_total", "Jobs put back: their function could not begin", ["queue"]
)
JOBS_RECALLED = Counter(
    "rq_slots_jobs_recalled_total", "Jobs put back: the reply to their claim was lost", ["queue"]
)
JOBS_UNWRITTEN = Gauge(
    "rq_slots_jobs_unwritten", "Jobs ended or put back whose result is not yet in Redis", ["queue"]
)
JOBS_STALE = Counter("rq_slots_jobs_stale_total", "Hints dropped: too old to be of use", ["queue"])
JOB_WAIT_SECONDS = Histogram(
    "rq_slots_job_wait_seconds", "From enqueued to started", ["queue"], buckets=JOB_BUCKETS
)
JOB_SECONDS = Histogram(
    "rq_slots_job_seconds", "From started to ended", ["queue"], buckets=JOB_BUCKETS
)
TOKENS_REFUNDED = Counter(
    "rq_slots_tokens_refunded_total",
    "Tokens of the rate window given back: no start happened",
    ["reason"],
)
REDIS_CALLS_FAILED = Counter(
    "rq_slots_redis_calls_failed_total", "Calls of a worker to Redis that failed", ["queue"]
)
WITHOUT_REDIS = Gauge(
    "rq_slots_without_redis", "1 while this process works without Redis", ["queue"]
)
REDIS_UNUSABLE = Gauge(
    "rq_slots_redis_unusable",
    "1 while calls fail because of what Redis holds: FLUSHALL helps",
    ["queue"],
)
SLOTS = Gauge("rq_slots_capacity", "Slots of this process", ["queue"])
SLOTS_BUSY = Gauge("rq_slots_busy", "Slots in use", ["queue"])

for _reason in ("claim_not_learned", "job_not_begun", "no_such_order"):
    TOKENS_REFUNDED.labels(reason=_reason)  # at zero, so that the first count has a rate
