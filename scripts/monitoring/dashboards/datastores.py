"""PostgreSQL and Redis as seen by the engine."""

from monitoring.dashboard import Dashboard, Panel, Row, quantile, quantiles, rate, rates

# the simulated chain is a venue, shown with the venues
OWN = 'statement!~"chain_.+"'

POSTGRES = Row(
    title="PostgreSQL",
    panels=[
        Panel(
            title="Time of a statement",
            description="From sent to committed, over all statements. A few milliseconds are normal."
            " Above half a second (dashed: p99) everything is late.",
            queries=quantiles("order_engine_commit_seconds", where=OWN),
            unit="s",
            bad_above=0.5,
            alert="CommitSlow",
        ),
        Panel(
            title="By statement (p95)",
            description="If one line is above the others, check the plan and the locks of that statement.",
            queries={
                "{{statement}}": quantile(
                    0.95, "order_engine_commit_seconds", by="statement", where=OWN
                )
            },
            unit="s",
            bad_above=0.5,
            alert="CommitSlow",
        ),
        Panel(
            title="Statements",
            description="Under load each statement carries many orders, so this grows more slowly than"
            " the orders.",
            queries={
                "{{statement}}": "sum by (statement)"
                f" (rate(order_engine_commit_seconds_count{{@,{OWN}}}[$__rate_interval]))"
            },
            unit="cps",
        ),
        Panel(
            title="Statements sent again",
            description="The connection was lost, another transaction was in conflict, or a row was"
            " locked. Bursts come from a failover; a steady line is a problem.",
            queries={
                "{{statement}}: {{reason}}": rate(
                    "order_engine_commit_repeats_total", by="statement, reason"
                )
            },
            unit="cps",
            when_none="none so far",
            alert="CommitRepeats",
        ),
        Panel(
            title="Jobs put back",
            description="Not started, because PostgreSQL did not answer.",
            queries=rates("rq_slots_jobs_returned_total", by="queue"),
            unit="cps",
            when_none="none so far",
            alert="CommitRepeats",
        ),
        Panel(
            title="Reads that wait for a connection",
            description="In the busiest process. If it stays above 0, the pool (DATABASE_CONNECTIONS_MAX)"
            " is exhausted: queries are slow, or too many.",
            queries={
                "{{pool}}": "max by (pool) (order_engine_pool_reads_waiting{@})",
            },
            unit="short",
            bad_above=1,
            alert="ReadsWaiting",
        ),
        Panel(
            title="Connections in use for reads",
            description="In the busiest process; at most DATABASE_CONNECTIONS_MAX, by default 8.",
            queries={"{{pool}}": "max by (pool) (order_engine_pool_connections_in_use{@})"},
            unit="short",
            alert="ReadsWaiting",
        ),
        Panel(
            title="Leases",
            description="Orders that workers hold, and failed renewals in a minute. A lease that is not"
            " renewed expires after 10 s, and another worker claims the order.",
            queries={
                "held": "sum(order_engine_leases_held{@})",
                "renewals failed": "sum(increase(order_engine_lease_renewals_failed_total{@}[1m]))",
            },
            unit="short",
            alert="LeasesNotRenewed",
        ),
        Panel(
            title="Orders placed",
            description="Committed by the gateways: the load on the stores.",
            queries={"placed": rate("order_engine_orders_placed_total")},
            unit="cps",
        ),
    ],
)

BATCHES = Row(
    title="Batches",
    panels=[
        Panel(
            title="Items in a batch, on average",
            description="1 at low load. It grows with the load, which keeps the engine fast; near 256"
            " there is no reserve left.",
            queries={
                "{{batches}}": "sum by (batches) (rate(order_engine_batch_size_items_sum{@}[$__rate_interval]))"
                " / sum by (batches) (rate(order_engine_batch_size_items_count{@}[$__rate_interval]))"
            },
            unit="short",
        ),
        Panel(
            title="Items in a batch (p99)",
            description="The largest batches.",
            queries={"{{batches}}": quantile(0.99, "order_engine_batch_size_items", by="batches")},
            unit="short",
        ),
        Panel(
            title="Calls refused",
            description="The backlog of a batch was full, because its store is too slow. Normally 0.",
            queries=rates("order_engine_batch_overflows_total", by="batches"),
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
            description="They take their work from PostgreSQL. Normally 0.",
            queries={"{{queue}}": "sum by (queue) (rq_slots_without_redis{@})"},
            unit="short",
            bad_above=1,
            alert="WithoutRedis",
        ),
        Panel(
            title="Jobs not written",
            description="Redis was down or full, or the buffer in front of it was full.",
            queries=rates("order_engine_hints_dropped_total", by="queue"),
            unit="cps",
            when_none="none so far",
            alert="HintsDropped",
        ),
        Panel(
            title="Jobs in Redis",
            description="Over all queues. Waiting jobs use memory of Redis.",
            queries={"jobs": "sum(max by (queue) (order_engine_queue_depth_jobs{@}))"},
            unit="short",
        ),
    ],
)

DATASTORES = Dashboard(
    name="datastores",
    title="Datastores",
    description="PostgreSQL and Redis as seen by the engine.",
    rows=[POSTGRES, BATCHES, REDIS],
)
