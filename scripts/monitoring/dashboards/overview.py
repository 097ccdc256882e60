"""The first dashboard to open: is the engine healthy, and in which status are the orders?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, quantiles, rate, rates
from monitoring.dashboards.http import HTTP
from monitoring.dashboards.processes import PROCESSES

FINAL = 'status=~"confirmed|failed"'

HEALTH = Row(
    title="Health",
    panels=[
        Panel(
            title="Alerts",
            description="Alerts of this engine that fire now. Each has a section in the runbook, under"
            " its name.",
            queries={
                "": 'count(ALERTS{alertname=~"OrderEngine.+",alertstate="firing",'
                'namespace="$namespace",release="$release"}) or vector(0)'
            },
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            bad_above=1,
        ),
        Panel(
            title="Invariants broken",
            description="Orders that break a rule which always holds. Must be 0.",
            queries={
                "": "sum(max by (invariant) (order_engine_invariant_violations_total{@})) or vector(0)"
            },
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            bad_above=1,
            alert="InvariantViolated",
        ),
        Panel(
            title="Orders stuck",
            description="Started orders that no worker claims. Above 0 for more than a minute, recovery"
            " does not work.",
            queries={"": "max(order_engine_orders_stuck{@})"},
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            bad_above=1,
            alert="OrdersStuck",
        ),
        Panel(
            title="Orders waiting",
            description="Accepted and not started yet. Normally near 0. It grows when orders come faster"
            " than the rate limit or the workers allow.",
            queries={"": "max(order_engine_orders_waiting{@})"},
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            alert="BacklogSlow",
        ),
        Panel(
            title="Orders placed",
            description="Committed by the gateways, per minute.",
            queries={"": "sum(rate(order_engine_orders_placed_total{@}[5m])) * 60"},
            unit="cpm",
            kind=Kind.NUMBER,
            width=3,
        ),
        Panel(
            title="Orders confirmed",
            description="Filled by a venue, per minute. Over time, confirmed and failed orders add up to"
            " the placed ones.",
            queries={
                "": '(sum(rate(order_engine_orders_moved_total{@,status="confirmed"}[5m])) or vector(0)) * 60'
            },
            unit="cpm",
            kind=Kind.NUMBER,
            width=3,
            alert="NothingConfirmed",
        ),
        Panel(
            title="Failed share",
            description="Of the orders that ended. A few percent fail by their own limits (slippage);"
            " above a quarter something is wrong. Cancelled orders are not counted.",
            queries={
                "": '(sum(rate(order_engine_orders_moved_total{@,status="failed"}[15m])) or vector(0))'
                f" / sum(rate(order_engine_orders_moved_total{{@,{FINAL}}}[15m]))"
            },
            unit="percentunit",
            kind=Kind.NUMBER,
            width=3,
            bad_above=0.25,
            when_none="no order ended",
            alert="OrdersFailing",
        ),
        Panel(
            title="Time to final (p95)",
            description="From committed to final. The venue takes 2 to 3 s; the rest is mostly waiting"
            " for a slot or the rate limit.",
            queries={
                "": quantile(0.95, "order_engine_order_end_to_end_seconds").replace(
                    "$__rate_interval", "15m"
                )
            },
            unit="s",
            kind=Kind.NUMBER,
            width=3,
            when_none="no order ended",
        ),
    ],
)

FUNNEL = Row(
    title="Orders by status",
    panels=[
        Panel(
            title="Orders that reached each status",
            description="In the selected time. Normally the bars from pending to submitted are about"
            " equal, and confirmed + failed add up to the same. A lower bar shows where orders"
            " wait or end.",
            queries={
                "pending": "sum(increase(order_engine_orders_placed_total{@}[$__range]))",
                **{
                    status: f'sum(increase(order_engine_orders_moved_total{{@,status="{status}"}}[$__range]))'
                    for status in ("routing", "building", "submitted", "confirmed", "failed")
                },
            },
            unit="short",
            kind=Kind.BARS,
            when_none="none",
        ),
        Panel(
            title="Transitions by status",
            description="Orders that enter a status per second. In a steady fleet the lines coincide; a"
            " lower line shows the slow step.",
            queries={
                "pending": rate("order_engine_orders_placed_total"),
                "{{status}}": rate("order_engine_orders_moved_total", by="status"),
            },
            unit="cps",
        ),
        Panel(
            title="Time from committed to final",
            description="Over all orders that ended. With the simulated venues p50 is near 3 s; p99 above"
            " 30 s means retries or a backlog.",
            queries=quantiles("order_engine_order_end_to_end_seconds"),
            unit="s",
            when_none="no order ended",
        ),
        Panel(
            title="Backlog",
            description="Orders that no worker has started, up to the limit at which POSTs are refused;"
            " and started orders that are stuck, which must be 0.",
            queries={
                "waiting": "max(order_engine_orders_waiting{@})",
                "stuck": "max(order_engine_orders_stuck{@})",
            },
            unit="short",
            alert="BacklogSlow",
        ),
        Panel(
            title="Time to start the backlog",
            description="Waiting orders divided by starts per second: how long a new order waits. Above"
            " 15 minutes (dashed) the rate limit or the number of workers is too low.",
            queries={
                "wait": "max(order_engine_orders_waiting{@}) / on () sum(rate(order_engine_orders_claimed_total"
                '{@,way=~"hint|watermark|without_redis"}[5m]))'
            },
            unit="s",
            bad_above=900,
            when_none="nothing started",
            alert="BacklogSlow",
        ),
        Panel(
            title="Claims by way",
            description="hint: from the queue, the normal way. started: after a retry or the death of a"
            " worker. watermark: the hint was lost. without_redis: Redis is down. refused: a"
            " hint that came too late, harmless.",
            queries=rates("order_engine_orders_claimed_total", by="way"),
            unit="cps",
            kind=Kind.STACK,
            alert="OrdersRecovered",
        ),
    ],
)

OVERVIEW = Dashboard(
    name="overview",
    title="Overview",
    description="Is the engine healthy, in which status are the orders, and are requests answered?",
    rows=[HEALTH, FUNNEL, HTTP, PROCESSES],
)
