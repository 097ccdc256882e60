"""PostgreSQL and Redis as the engine feels them."""

from monitoring.dashboard import Dashboard, Panel, Row, quantile, quantiles

# the simulated chain is a venue, and shown with the venues
OWN = 'statement!~"chain_.+"'

POSTGRES = Row(
    title="PostgreSQL",
    panels=[
        Panel(
            title="Time of a statement",
            description="From sent to committed, over all statements. A few milliseconds are well;"
            " above half a second (dashed: p99) everything is late.",
            queries=quantiles("commit_seconds", where=OWN),
            unit="s",
            bad_above=0.5,
            alert="CommitSlow",
        ),
        Panel(
            title="By statement (p95)",
            description="One line above the others: look at that statement's plan and locks.",
            queries={"{{statement}}": quantile(0.95, "commit_seconds", by="statement", where=OWN)},
            unit="s",
            bad_above=0.5,
            alert="CommitSlow",
        ),
        Panel(
            title="Statements",
            description="Each carries many orders under load, so these grow slower than the orders.",
            queries={
                "{{statement}}": "sum by (statement)"
                f" (rate(commit_seconds_count{{@,{OWN}}}[$__rate_interval]))"
            },
            unit="cps",
        ),
        Panel(
            title="Statements sent again",
            description="The connection was lost, another transaction was in conflict, or a row was"
            " locked. Bursts belong to a failover; a steady line does not belong here.",
            queries={
                "{{statement}}: {{reason}}": "sum by (statement, reason)"
                " (rate(commit_repeats_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="CommitRepeats",
        ),
        Panel(
            title="Jobs put back",
            description="PostgreSQL did not answer, so they were not begun.",
            queries={
                "{{queue}}": "sum by (queue) (rate(jobs_returned_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="CommitRepeats",
        ),
        Panel(
            title="Reads that wait for a connection",
            description="Of the fullest process. Above 0 for long, its pool"
            " (DATABASE_CONNECTIONS_MAX) is exhausted: slow queries, or too many.",
            queries={
                "{{pool}}": "max by (pool) (pool_reads_waiting{@})",
            },
            unit="short",
            bad_above=1,
            alert="ReadsWaiting",
        ),
        Panel(
            title="Connections that read",
            description="Of the fullest process; at most DATABASE_CONNECTIONS_MAX, 8 unless set"
            " otherwise.",
            queries={"{{pool}}": "max by (pool) (pool_connections_in_use{@})"},
            unit="short",
            alert="ReadsWaiting",
        ),
        Panel(
            title="Leases",
            description="Orders that workers hold, and renewals that failed in a minute: those leases"
            " run out after 10 s, and others take the orders.",
            queries={
                "held": "sum(leases_held{@})",
                "renewals failed": "sum(increase(lease_renewals_failed_total{@}[1m]))",
            },
            unit="short",
            alert="LeasesNotRenewed",
        ),
        Panel(
            title="Orders placed",
            description="The load that all of this is for: committed by the gateways.",
            queries={"placed": "sum(rate(orders_placed_total{@}[$__rate_interval]))"},
            unit="cps",
        ),
    ],
)

BATCHES = Row(
    title="Batches: what runs together",
    panels=[
        Panel(
            title="Items in a batch, on average",
            description="1 at low load. It grows with the load, and is what keeps up with it; near 256"
            " there is no reserve.",
            queries={
                "{{batches}}": "sum by (batches) (rate(batch_size_items_sum{@}[$__rate_interval]))"
                " / sum by (batches) (rate(batch_size_items_count{@}[$__rate_interval]))"
            },
            unit="short",
        ),
        Panel(
            title="Items in a batch (p99)",
            description="The largest ones.",
            queries={"{{batches}}": quantile(0.99, "batch_size_items", by="batches")},
            unit="short",
        ),
        Panel(
            title="Calls refused",
            description="The backlog of a batch was full: its store is too slow. 0 is well.",
            queries={
                "{{batches}}": "sum by (batches) (rate(batch_overflows_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="BatchesFull",
        ),
    ],
)

REDIS = Row(
    title="Redis",
    panels=[
        Panel(
            title="Workers without Redis",
            description="They work from PostgreSQL. 0 is well.",
            queries={"{{queue}}": "sum by (queue) (without_redis{@})"},
            unit="short",
            bad_above=1,
            alert="WithoutRedis",
        ),
        Panel(
            title="Jobs not written",
            description="Redis was away or full, or the buffer before it.",
            queries={
                "{{queue}}": "sum by (queue) (rate(hints_dropped_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="HintsDropped",
        ),
        Panel(
            title="Jobs that it holds",
            description="Over all queues; what waits costs its memory.",
            queries={"jobs": "sum(max by (queue) (queue_depth_jobs{@}))"},
            unit="short",
        ),
    ],
)

DATASTORES = Dashboard(
    name="datastores",
    title="Datastores",
    description="PostgreSQL and Redis as the engine feels them.",
    rows=[POSTGRES, BATCHES, REDIS],
)
