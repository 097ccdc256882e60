"""Requests that are refused, failed, or slow."""

from monitoring.alerts.slo import BUDGETS, burning
from monitoring.rule import Alert

HTTP = (
    Alert(
        name="OrdersRefused",
        severity="critical",
        query="""
sum(rate(order_engine_http_requests_total{@,route="/api/orders/execute",code="503"}[5m]))
/
sum(rate(order_engine_http_requests_total{@,route="/api/orders/execute"}[5m]))
> 0.05
""",
        lasting="5m",
        summary="{{ $value | humanizePercentage }} of the orders are refused with 503",
        description="The backlog has reached its limit, or PostgreSQL does not answer.",
    ),
    *(burning(budget) for budget in BUDGETS),
)
