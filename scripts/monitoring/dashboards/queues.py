"""Queues and their workers: are jobs started, and how do they end?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, rate, rates

WAITING = Row(
    title="Waiting",
    panels=[
        Panel(
            title="Jobs waiting",
            description="Length of each list in Redis. `orders` may be long when orders come faster than"
            " the rate limit; the status queues are normally near 0.",
            queries={"{{queue}}": "max by (queue) (order_engine_queue_depth_jobs{@})"},
            unit="short",
            alert="QueueStalled",
        ),
        Panel(
            title="Age of the oldest job",
            description="Of the job at the head. A status queue drops jobs older than 5 s as stale; in"
            " `orders` it is the age of the backlog.",
            queries={"{{queue}}": "max by (queue) (order_engine_queue_oldest_job_seconds{@})"},
            unit="s",
            alert="QueueStalled",
        ),
        Panel(
            title="Wait for a slot (p95)",
            description="From enqueued to started. Well below a second, unless the rate limit or the"
            " number of slots delays jobs.",
            queries={"{{queue}}": quantile(0.95, "rq_slots_job_wait_seconds", by="queue")},
            unit="s",
            alert="SlotsExhausted",
        ),
    ],
)

WORK = Row(
    title="Work",
    panels=[
        Panel(
            title="Jobs started",
            description="0 while jobs wait means that the queue is stalled. `orders` is bounded by the"
            " rate limit over all workers: by default 100 a minute.",
            queries=rates("rq_slots_jobs_started_total", by="queue"),
            unit="cps",
            alert="QueueStalled",
        ),
        Panel(
            title="Slots busy",
            description="Share of all slots. At 100 % while jobs wait, more replicas help if the rate"
            " limit allows.",
            queries={
                "{{queue}}": "sum by (queue) (rq_slots_busy{@}) / sum by (queue) (rq_slots_capacity{@})",
            },
            unit="percentunit",
            bad_above=0.95,
            alert="SlotsExhausted",
        ),
        Panel(
            title="Slots",
            description="Over all workers of a queue.",
            queries={"{{queue}}": "sum by (queue) (rq_slots_capacity{@})"},
            unit="short",
        ),
        Panel(
            title="Time of a job (p95)",
            description="From started to ended: about 3 s for an order, milliseconds for an event.",
            queries={"{{queue}}": quantile(0.95, "rq_slots_job_seconds", by="queue")},
            unit="s",
            width=6,
        ),
        Panel(
            title="Jobs ended, by outcome",
            description="failed is an error of the program, not a failed order. Normally 0.",
            queries=rates("rq_slots_jobs_finished_total", by="queue, outcome"),
            unit="cps",
            width=6,
            alert="JobsFailing",
        ),
        Panel(
            title="Workers without Redis",
            description="They take their work from PostgreSQL, somewhat later. Normally 0.",
            queries={"{{queue}}": "sum by (queue) (rq_slots_without_redis{@})"},
            unit="short",
            width=6,
            bad_above=1,
            alert="WithoutRedis",
        ),
        Panel(
            title="Workers with unusable Redis keys",
            description="1 or more: a key has a wrong type. FLUSHALL is a full cure.",
            queries={"{{queue}}": "sum by (queue) (rq_slots_redis_unusable{@})"},
            unit="short",
            width=6,
            bad_above=1,
            alert="RedisUnusable",
        ),
    ],
)

HINTS = Row(
    title="Hints: the jobs in Redis",
    panels=[
        Panel(
            title="Written",
            description="Jobs that gateways and workers wrote to Redis.",
            queries=rates("order_engine_hints_written_total", by="queue"),
            unit="cps",
        ),
        Panel(
            title="Not written",
            description="Redis was down or the buffer full. Nothing is lost, but it is late.",
            queries=rates("order_engine_hints_dropped_total", by="queue"),
            unit="cps",
            when_none="none so far",
            alert="HintsDropped",
        ),
        Panel(
            title="Removed without being run",
            description="swept: hints of orders that a killed worker left. stale: events too old to"
            " publish. returned: PostgreSQL did not answer. recalled: claimed, but the answer"
            " to the worker was lost. Normally only in bursts around a failure.",
            queries={
                "swept {{queue}}": rate("rq_slots_jobs_swept_total", by="queue"),
                "stale {{queue}}": rate("rq_slots_jobs_stale_total", by="queue"),
                "returned {{queue}}": rate("rq_slots_jobs_returned_total", by="queue"),
                "recalled {{queue}}": rate("rq_slots_jobs_recalled_total", by="queue"),
            },
            unit="cps",
            when_none="none so far",
            alert="EventsStale",
        ),
        Panel(
            title="Quarantined",
            description="Jobs that could not be read, in the selected time. Must be 0.",
            queries={
                "{{queue}}": "sum by (queue) (increase(rq_slots_jobs_quarantined_total{@}[$__range]))"
            },
            unit="short",
            kind=Kind.BARS,
            when_none="none so far",
            alert="QuarantineGrows",
        ),
        Panel(
            title="Starts returned to the rate limit",
            description="They did not happen: PostgreSQL did not answer, there was no such order, or the"
            " answer of Redis was lost.",
            queries=rates("rq_slots_tokens_refunded_total", by="reason"),
            unit="cps",
            when_none="none so far",
        ),
        Panel(
            title="Fenced and hung",
            description="fenced: a write of a worker was refused, because its lease had expired or the"
            " order was cancelled. hung: an order was claimed 20 times in a row without"
            " progress; must be 0.",
            queries={
                "fenced": rate("order_engine_orders_fenced_total"),
                "hung": rate("order_engine_orders_hung_total"),
            },
            unit="cps",
            alert="OrdersFenced",
        ),
    ],
)

QUEUES = Dashboard(
    name="queues",
    title="Queues and workers",
    description="Are jobs started, how long do they wait, and how do they end?",
    rows=[WAITING, WORK, HINTS],
)
