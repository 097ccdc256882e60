"""Queues and the workers behind them: is work taken up, and by what way does it end?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile

WAITING = Row(
    title="What waits",
    panels=[
        Panel(
            title="Jobs waiting",
            description="Length of each list in Redis. The queue `orders` may be long when orders come"
            " faster than the rate limit; the status queues are near 0 always.",
            queries={"{{queue}}": "max by (queue) (queue_depth_jobs{@})"},
            unit="short",
            alert="QueueStalled",
        ),
        Panel(
            title="Age of the oldest job",
            description="Of the job at the head. A status queue above 5 s drops its jobs as stale;"
            " `orders` is as old as its backlog.",
            queries={"{{queue}}": "max by (queue) (queue_oldest_job_seconds{@})"},
            unit="s",
            alert="QueueStalled",
        ),
        Panel(
            title="Wait for a slot (p95)",
            description="From enqueued to started. Well below a second unless the rate limit, or the"
            " number of slots, holds jobs back.",
            queries={"{{queue}}": quantile(0.95, "job_wait_seconds", by="queue")},
            unit="s",
            alert="SlotsExhausted",
        ),
    ],
)

WORK = Row(
    title="What is worked on",
    panels=[
        Panel(
            title="Jobs started",
            description="0 while jobs wait is a stalled queue. `orders` ends at the rate limit, over"
            " all workers together: 100 a minute unless set otherwise.",
            queries={"{{queue}}": "sum by (queue) (rate(jobs_started_total{@}[$__rate_interval]))"},
            unit="cps",
            alert="QueueStalled",
        ),
        Panel(
            title="Slots busy",
            description="Share of the places for jobs. At 100 % while jobs wait more replicas would"
            " help, if the rate limit allows.",
            queries={
                "{{queue}}": "sum by (queue) (slots_busy{@}) / sum by (queue) (slots{@})",
            },
            unit="percentunit",
            bad_above=0.95,
            alert="SlotsExhausted",
        ),
        Panel(
            title="Slots",
            description="Places for jobs, over all workers of a queue.",
            queries={"{{queue}}": "sum by (queue) (slots{@})"},
            unit="short",
        ),
        Panel(
            title="Time of a job (p95)",
            description="From started to ended: some 3 s for an order, milliseconds for an event.",
            queries={"{{queue}}": quantile(0.95, "job_seconds", by="queue")},
            unit="s",
        ),
        Panel(
            title="Jobs ended, by outcome",
            description="failed is an error of the program, not a failed order: it should not be.",
            queries={
                "{{queue}} {{outcome}}": "sum by (queue, outcome)"
                " (rate(jobs_finished_total{@}[$__rate_interval]))"
            },
            unit="cps",
            alert="JobsFailing",
        ),
        Panel(
            title="Workers without Redis",
            description="1 or more: these work from PostgreSQL, somewhat later. 0 is well.",
            queries={"{{queue}}": "sum by (queue) (without_redis{@})"},
            unit="short",
            bad_above=1,
            alert="WithoutRedis",
        ),
    ],
)

HINTS = Row(
    title="Hints: the jobs that point at PostgreSQL",
    panels=[
        Panel(
            title="Written",
            description="Jobs that gateways and workers wrote to Redis.",
            queries={
                "{{queue}}": "sum by (queue) (rate(hints_written_total{@}[$__rate_interval]))"
            },
            unit="cps",
        ),
        Panel(
            title="Not written",
            description="Redis was away or the buffer full. Nothing is lost, all of it is later.",
            queries={
                "{{queue}}": "sum by (queue) (rate(hints_dropped_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="HintsDropped",
        ),
        Panel(
            title="Taken away",
            description="swept: hints of orders that a killed worker left. stale: events too old to"
            " publish. returned: PostgreSQL was away. All are bursts around a fault.",
            queries={
                "swept {{queue}}": "sum by (queue) (rate(jobs_swept_total{@}[$__rate_interval]))",
                "stale {{queue}}": "sum by (queue) (rate(jobs_stale_total{@}[$__rate_interval]))",
                "returned {{queue}}": "sum by (queue)"
                " (rate(jobs_returned_total{@}[$__rate_interval]))",
                "recalled {{queue}}": "sum by (queue)"
                " (rate(jobs_recalled_total{@}[$__rate_interval]))",
            },
            unit="cps",
            when_none="none so far",
            alert="EventsStale",
        ),
        Panel(
            title="Quarantined",
            description="Jobs that could not be read, in the chosen time. Must be 0.",
            queries={"{{queue}}": "sum by (queue) (increase(jobs_quarantined_total{@}[$__range]))"},
            unit="short",
            kind=Kind.BARS,
            when_none="none so far",
            alert="QuarantineGrows",
        ),
        Panel(
            title="Starts given back to the rate limit",
            description="They did not happen: PostgreSQL was away, there was no such order, or Redis's answer was lost.",
            queries={
                "{{reason}}": "sum by (reason) (rate(tokens_refunded_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
        ),
        Panel(
            title="Fenced and hung",
            description="fenced: a worker was taken for dead, or its order cancelled, and its write"
            " refused. hung: an order ended 20 workers in a row; must be 0.",
            queries={
                "fenced": "sum(rate(orders_fenced_total{@}[$__rate_interval]))",
                "hung": "sum(rate(orders_hung_total{@}[$__rate_interval]))",
            },
            unit="cps",
            alert="OrdersFenced",
        ),
    ],
)

QUEUES = Dashboard(
    name="queues",
    title="Queues and workers",
    description="Is work taken up, how long does it wait, and how does it end?",
    rows=[WAITING, WORK, HINTS],
)
