"""Orders that are wrong, late, or stuck."""

from monitoring.rule import Alert

ORDERS = (
    Alert(
        name="InvariantViolated",
        severity="critical",
        query="max by (invariant) (order_engine_invariant_violations_total{@}) > 0",
        lasting="0s",
        summary="{{ $labels.invariant }}: {{ $value }} orders",
        description="A rule that holds for every order is broken; money may be wrong."
        " The alert lasts until the gateways are restarted.",
    ),
    Alert(
        name="OrdersStuck",
        severity="critical",
        query="max(order_engine_orders_stuck{@}) > 0",
        lasting="2m",
        summary="{{ $value }} started orders are stuck",
        description="Orders that were started are due, and no worker claims them. Recovery does so"
        " within seconds when it works.",
    ),
    Alert(
        name="OrdersHung",
        severity="critical",
        query="sum(increase(order_engine_orders_hung_total{@}[15m])) > 0",
        lasting="0s",
        summary="An order was claimed again and again without progress",
        description="It was claimed more than 20 times without a transition, and its transaction may"
        " still land, so it is not failed either.",
    ),
    Alert(
        name="OrdersSetAside",
        severity="critical",
        query="sum(increase(order_engine_orders_set_aside_total{@}[15m])) > 0",
        lasting="0s",
        summary="An order cannot be read and was set aside",
        description="A worker claimed an order that it cannot read. It is tried again every 5 minutes and"
        " is not executed until it can be read.",
    ),
    Alert(
        name="NothingConfirmed",
        severity="critical",
        query="""
max(order_engine_orders_waiting{@}) > 0
unless on ()
sum(rate(order_engine_orders_moved_total{@,status="confirmed"}[5m])) > 0
""",
        lasting="5m",
        summary="{{ $value }} orders wait, and none was confirmed for 5 minutes",
        description="Orders are accepted, but not executed.",
    ),
    Alert(
        name="BacklogSlow",
        severity="warning",
        query="""
max(order_engine_orders_waiting{@})
/ on ()
sum(rate(order_engine_orders_claimed_total{@,way=~"hint|watermark|without_redis"}[10m]))
> 900
""",
        lasting="10m",
        summary="A new order waits {{ $value | humanizeDuration }} before it is started",
        description="At the present rate it takes more than 15 minutes to start all waiting orders.",
    ),
    Alert(
        name="OrdersFailing",
        severity="warning",
        query="""
sum(rate(order_engine_orders_moved_total{@,status="failed"}[15m]))
/
sum(rate(order_engine_orders_moved_total{@,status=~"confirmed|failed"}[15m]))
> 0.25
and on ()
sum(increase(order_engine_orders_moved_total{@,status=~"confirmed|failed"}[15m])) >= 20
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the orders that end have failed",
        description="More than a quarter of all orders fail. A few always do, by their own limits.",
    ),
    Alert(
        name="OrdersRecovered",
        severity="warning",
        query="""
sum by (way) (rate(order_engine_orders_claimed_total{@,way=~"started|watermark"}[10m]))
/ on () group_left ()
sum(rate(order_engine_orders_claimed_total{@,way!="refused"}[10m]))
> 0.1
and on ()
sum(increase(order_engine_orders_claimed_total{@,way!="refused"}[10m])) >= 20
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the claims are recoveries ({{ $labels.way }})",
        description="Workers die or venues fail (way started), or hints are lost (way watermark)."
        " The orders are safe, but late.",
    ),
    Alert(
        name="LeasesNotRenewed",
        severity="warning",
        query="sum(increase(order_engine_lease_renewals_failed_total{@}[10m])) > 5",
        lasting="5m",
        summary="Leases could not be renewed {{ $value | humanize }} times in 10 minutes",
        description="Workers cannot renew their leases in PostgreSQL. After 10 s other workers claim"
        " their orders, which is safe, but takes time.",
    ),
    Alert(
        name="OrdersFenced",
        severity="warning",
        query="""
sum(increase(order_engine_orders_fenced_total{@}[15m]))
> 0.05 * sum(increase(order_engine_orders_claimed_total{@,way!="refused"}[15m]))
and on ()
sum(increase(order_engine_orders_fenced_total{@}[15m])) > 10
""",
        lasting="5m",
        summary="{{ $value | humanize }} writes of workers without a lease were refused",
        description="Workers do not renew their leases within 10 s, so that others claim their orders:"
        " they lack CPU, or are paused. Cancelled orders count too.",
    ),
)
