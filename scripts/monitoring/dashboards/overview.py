"""The first dashboard to look at: is the engine well, and where do orders stand?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, quantiles
from monitoring.dashboards.http import HTTP
from monitoring.dashboards.processes import PROCESSES

FINAL = 'status=~"confirmed|failed"'

WELL = Row(
    title="Is it well?",
    panels=[
        Panel(
            title="Alerts",
            description="Alerts of this engine that fire now. Anything above 0 has a page in the"
            " runbook, under its name.",
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
            description="Orders that break what must always be true. Must be 0, always.",
            queries={"": "sum(max by (invariant) (invariant_violations_total{@})) or vector(0)"},
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            bad_above=1,
            alert="InvariantViolated",
        ),
        Panel(
            title="Orders stuck",
            description="Started orders that nobody goes on with. Above 0 for longer than a minute,"
            " recovery does not do its work.",
            queries={"": "max(orders_stuck{@})"},
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            bad_above=1,
            alert="OrdersStuck",
        ),
        Panel(
            title="Orders waiting",
            description="Accepted and not started yet. Good: near 0. It grows when orders come faster"
            " than the rate limit, or the workers, allow.",
            queries={"": "max(orders_waiting{@})"},
            unit="short",
            kind=Kind.NUMBER,
            width=3,
            alert="BacklogSlow",
        ),
        Panel(
            title="Orders placed",
            description="Committed by the gateways, in a minute.",
            queries={"": "sum(rate(orders_placed_total{@}[5m])) * 60"},
            unit="cpm",
            kind=Kind.NUMBER,
            width=3,
        ),
        Panel(
            title="Orders confirmed",
            description="Filled by a venue, in a minute. Over time this and the failed ones are as"
            " many as were placed.",
            queries={
                "": '(sum(rate(orders_moved_total{@,status="confirmed"}[5m])) or vector(0)) * 60'
            },
            unit="cpm",
            kind=Kind.NUMBER,
            width=3,
            alert="NothingConfirmed",
        ),
        Panel(
            title="Failed share",
            description="Of the orders that ended. A few per cent fail by their own limits (slippage);"
            " above a quarter something is wrong. Cancelled orders are not counted.",
            queries={
                "": '(sum(rate(orders_moved_total{@,status="failed"}[15m])) or vector(0))'
                f" / sum(rate(orders_moved_total{{@,{FINAL}}}[15m]))"
            },
            unit="percentunit",
            kind=Kind.NUMBER,
            width=3,
            bad_above=0.25,
            when_none="no order ended",
            alert="OrdersFailing",
        ),
        Panel(
            title="Time to an end (p95)",
            description="From committed to final. The venue alone takes 2 to 3 s; what goes beyond is"
            " mostly waiting for a slot or for the rate limit.",
            queries={
                "": quantile(0.95, "order_end_to_end_seconds").replace("$__rate_interval", "15m")
            },
            unit="s",
            kind=Kind.NUMBER,
            width=3,
            when_none="no order ended",
        ),
    ],
)

FUNNEL = Row(
    title="The funnel: orders by status",
    panels=[
        Panel(
            title="How far orders came",
            description="Orders that reached each status in the chosen time. Healthy bars are about"
            " equal from pending to submitted, and confirmed + failed make up the same again. A step"
            " down shows where orders wait or end.",
            queries={
                "pending": "sum(increase(orders_placed_total{@}[$__range]))",
                **{
                    status: f'sum(increase(orders_moved_total{{@,status="{status}"}}[$__range]))'
                    for status in ("routing", "building", "submitted", "confirmed", "failed")
                },
            },
            unit="short",
            kind=Kind.BARS,
            when_none="none",
        ),
        Panel(
            title="Moves by status",
            description="Orders that enter a status each second. The lines of a steady fleet lie on"
            " each other; one that lags behind shows the step that is slow.",
            queries={
                "pending": "sum(rate(orders_placed_total{@}[$__rate_interval]))",
                "{{status}}": "sum by (status) (rate(orders_moved_total{@}[$__rate_interval]))",
            },
            unit="cps",
        ),
        Panel(
            title="Time from committed to final",
            description="Over all orders that ended. p50 near 3 s with the simulated venues; p99 above"
            " 30 s means retries or a backlog.",
            queries=quantiles("order_end_to_end_seconds"),
            unit="s",
            when_none="no order ended",
        ),
        Panel(
            title="Backlog",
            description="Orders that no worker has started, up to the gateways' bound, where POSTs are"
            " refused; and started ones that are stuck, which must be 0.",
            queries={
                "waiting": "max(orders_waiting{@})",
                "stuck": "max(orders_stuck{@})",
            },
            unit="short",
            alert="BacklogSlow",
        ),
        Panel(
            title="Time to work the backlog off",
            description="Orders that wait, over those started each second: what a new order waits."
            " Above 15 minutes (dashed) the limit or the number of workers is too low.",
            queries={
                "wait": "max(orders_waiting{@}) / on () sum(rate(orders_claimed_total"
                '{@,way=~"hint|watermark|without_redis"}[5m]))'
            },
            unit="s",
            bad_above=900,
            when_none="nothing started",
            alert="BacklogSlow",
        ),
        Panel(
            title="How orders come to workers",
            description="hint: by the queue, the usual way. started: after a retry or a worker's death."
            " watermark: the hint was lost. without_redis: Redis is away. refused: a hint that came"
            " too late, harmless.",
            queries={"{{way}}": "sum by (way) (rate(orders_claimed_total{@}[$__rate_interval]))"},
            unit="cps",
            kind=Kind.STACK,
            alert="OrdersRecovered",
        ),
    ],
)

OVERVIEW = Dashboard(
    name="overview",
    title="Overview",
    description="Is the engine well, where do orders stand, and are requests answered?",
    rows=[WELL, FUNNEL, HTTP, PROCESSES],
)
