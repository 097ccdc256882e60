"""The six status dispatchers: from a status queue to pub/sub."""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, quantiles, rates

QUEUE = 'queue=~"order-status-.+"'

LAG = Row(
    title="Delay",
    panels=[
        Panel(
            title="From committed to published",
            description="Tens of milliseconds are normal. Above a second (dashed) clients notice; after 5"
            " s events are dropped as stale, and clients get them through the position check.",
            queries=quantiles("order_engine_event_dispatch_seconds"),
            unit="s",
            bad_above=1,
            alert="DispatchLag",
        ),
        Panel(
            title="From committed to published, by status (p95)",
            description="If one line is above the others, that dispatcher lacks CPU or slots, or is at"
            " its rate limit.",
            queries={
                "{{status}}": quantile(0.95, "order_engine_event_dispatch_seconds", by="status")
            },
            unit="s",
            bad_above=1,
            alert="DispatchLag",
        ),
        Panel(
            title="Distribution",
            description="Events by their delay. A second band far above the first means that a dispatcher"
            " stops now and then.",
            queries={
                "{{le}}": "sum by (le) (increase(order_engine_event_dispatch_seconds_bucket{@}[$__rate_interval]))"
            },
            unit="s",
            kind=Kind.HEAT,
        ),
    ],
)

WORK = Row(
    title="Throughput",
    panels=[
        Panel(
            title="Events published",
            description="By status. In a steady fleet all are equal, except failed.",
            queries=rates("order_engine_events_published_total", by="status"),
            unit="cps",
        ),
        Panel(
            title="Jobs waiting",
            description="Normally near 0. If a queue stays long, its dispatcher is down or at its rate"
            " limit (by default 1,000 a minute per process): scale it.",
            queries={"{{queue}}": f"max by (queue) (order_engine_queue_depth_jobs{{@,{QUEUE}}})"},
            unit="short",
            alert="QueueStalled",
        ),
        Panel(
            title="Age of the oldest job",
            description="Normally below a second. From 5 s (dashed) jobs are dropped.",
            queries={
                "{{queue}}": f"max by (queue) (order_engine_queue_oldest_job_seconds{{@,{QUEUE}}})"
            },
            unit="s",
            bad_above=5,
            alert="EventsStale",
        ),
        Panel(
            title="Too old to publish",
            description="Clients got these events through the position check. Normally 0.",
            queries=rates("rq_slots_jobs_stale_total", by="queue"),
            unit="cps",
            when_none="none so far",
            alert="EventsStale",
        ),
        Panel(
            title="Jobs that failed",
            description="Not published after three attempts. Normally 0, except while Redis restarts.",
            queries={
                "{{queue}}": "sum by (queue)"
                f' (rate(rq_slots_jobs_finished_total{{@,outcome="failed",{QUEUE}}}[$__rate_interval]))'
            },
            unit="cps",
            when_none="none so far",
            alert="JobsFailing",
        ),
        Panel(
            title="Events in one call to Redis",
            description="On average. It grows with the load, which keeps the dispatchers fast.",
            queries={
                "events": 'sum(rate(order_engine_batch_size_items_sum{@,batches="publisher"}[$__rate_interval]))'
                ' / sum(rate(order_engine_batch_size_items_count{@,batches="publisher"}[$__rate_interval]))'
            },
            unit="short",
        ),
    ],
)

DISPATCHERS = Dashboard(
    name="dispatchers",
    title="Status dispatchers",
    description="Do events reach the subscribers in time?",
    rows=[LAG, WORK],
)
