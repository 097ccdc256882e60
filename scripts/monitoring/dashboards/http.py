"""The row about HTTP on the overview."""

from monitoring.dashboard import Kind, Panel, Row, quantile, quantiles, rates

POST = 'route="/api/orders/execute"'

HTTP = Row(
    title="HTTP",
    panels=[
        Panel(
            title="Requests by route",
            description="Answered by the gateways. Routes are templates, not paths.",
            queries=rates("order_engine_http_requests_total", by="route"),
            unit="reqps",
            kind=Kind.STACK,
            width=6,
        ),
        Panel(
            title="Responses by code",
            description="2xx is normal. 4xx is caused by the clients, 429 by a rate limit. 503:"
            " PostgreSQL does not answer or the backlog is full. 500: a bug.",
            queries=rates("order_engine_http_requests_total", by="method, code"),
            unit="reqps",
            kind=Kind.STACK,
            width=6,
            alert="OrdersRefused",
        ),
        Panel(
            title="Share of 5xx",
            description="The objective is below 0.1 % over a month. Dashed: the error budget burns fast.",
            queries={
                "5xx": 'sum(rate(order_engine_http_requests_total{@,code=~"5.."}[$__rate_interval]))'
                " / sum(rate(order_engine_http_requests_total{@}[$__rate_interval]))"
            },
            unit="percentunit",
            width=6,
            bad_above=0.0144,
            when_none="none so far",
            alert="ErrorBudgetBurnsFast",
        ),
        Panel(
            title="Time to accept an order",
            description="POST /api/orders/execute, commit included. The objective is 99 % within 250 ms"
            " (dashed).",
            queries=quantiles("order_engine_http_request_seconds", where=POST),
            unit="s",
            width=6,
            bad_above=0.25,
            when_none="no order placed",
            alert="LatencyBudgetBurnsFast",
        ),
        Panel(
            title="Response time, other routes (p95)",
            description="Each read is one query. Above 100 ms PostgreSQL or the gateway is busy.",
            queries={
                "{{route}}": quantile(
                    0.95,
                    "order_engine_http_request_seconds",
                    by="route",
                    where='route!="/api/orders/execute"',
                )
            },
            unit="s",
            width=12,
        ),
        Panel(
            title="Requests over a rate limit",
            description="Answered with 429, by the kind of limit. One client is harmless. Many at once"
            " are not: the address of a proxy may count for all its clients (TRUSTED_PROXIES).",
            queries=rates("order_engine_http_requests_limited_total", by="who"),
            unit="reqps",
            width=12,
            when_none="none so far",
        ),
    ],
)
