"""The six status dispatchers: from a status queue to pub/sub."""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, quantiles

QUEUE = 'queue=~"order-status-.+"'

LAG = Row(
    title="How late events are published",
    panels=[
        Panel(
            title="From committed to published",
            description="Tens of milliseconds are well. Above a second (dashed) clients notice; at 5 s"
            " events are dropped as stale and come by the position check.",
            queries=quantiles("event_dispatch_seconds"),
            unit="s",
            bad_above=1,
            alert="DispatchLag",
        ),
        Panel(
            title="The same by status (p95)",
            description="One line above the others: that dispatcher is short of CPU, slots or its"
            " rate limit.",
            queries={"{{status}}": quantile(0.95, "event_dispatch_seconds", by="status")},
            unit="s",
            bad_above=1,
            alert="DispatchLag",
        ),
        Panel(
            title="Distribution",
            description="Where the events lie. A second band far above the first is a dispatcher that"
            " stands still now and then.",
            queries={
                "{{le}}": "sum by (le) (increase(event_dispatch_seconds_bucket{@}[$__rate_interval]))"
            },
            unit="s",
            kind=Kind.HEAT,
        ),
    ],
)

WORK = Row(
    title="What they do",
    panels=[
        Panel(
            title="Events published",
            description="By status. In a steady fleet all but failed are equal.",
            queries={
                "{{status}}": "sum by (status) (rate(events_published_total{@}[$__rate_interval]))"
            },
            unit="cps",
        ),
        Panel(
            title="Jobs waiting",
            description="Near 0. A queue that stays long belongs to a dispatcher that is down, or at"
            " its rate limit (1,000 a minute and process unless set otherwise): scale it.",
            queries={"{{queue}}": f"max by (queue) (queue_depth_jobs{{@,{QUEUE}}})"},
            unit="short",
            alert="QueueStalled",
        ),
        Panel(
            title="Age of the oldest job",
            description="Below a second is well; from 5 s on (dashed) jobs are dropped.",
            queries={"{{queue}}": f"max by (queue) (queue_oldest_job_seconds{{@,{QUEUE}}})"},
            unit="s",
            bad_above=5,
            alert="EventsStale",
        ),
        Panel(
            title="Too old to publish",
            description="Clients got these by the position check. 0 is well.",
            queries={"{{queue}}": "sum by (queue) (rate(jobs_stale_total{@}[$__rate_interval]))"},
            unit="cps",
            when_none="none so far",
            alert="EventsStale",
        ),
        Panel(
            title="Jobs that failed",
            description="Not published after three tries. 0 is well, but while Redis restarts.",
            queries={
                "{{queue}}": "sum by (queue)"
                f' (rate(jobs_finished_total{{@,outcome="failed",{QUEUE}}}[$__rate_interval]))'
            },
            unit="cps",
            when_none="none so far",
            alert="JobsFailing",
        ),
        Panel(
            title="Events in one call to Redis",
            description="On average. It grows with the load, which is well: that is what keeps up.",
            queries={
                "events": 'sum(rate(batch_size_items_sum{@,batches="publisher"}[$__rate_interval]))'
                ' / sum(rate(batch_size_items_count{@,batches="publisher"}[$__rate_interval]))'
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
