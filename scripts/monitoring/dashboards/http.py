"""HTTP on the overview."""

from monitoring.dashboard import Kind, Panel, Row, quantile, quantiles

POST = 'route="/api/orders/execute"'

HTTP = Row(
    title="HTTP",
    panels=[
        Panel(
            title="Requests by route",
            description="Answered by the gateways. Routes are templates, never paths.",
            queries={
                "{{route}}": "sum by (route) (rate(http_requests_total{@}[$__rate_interval]))"
            },
            unit="reqps",
            kind=Kind.STACK,
            width=6,
        ),
        Panel(
            title="Answers by code",
            description="2xx is well; 4xx is the clients' doing, 429 the rate limit; 503 says that"
            " PostgreSQL is away or the backlog full; 500 is a fault of the program.",
            queries={
                "{{method}} {{code}}": "sum by (method, code)"
                " (rate(http_requests_total{@}[$__rate_interval]))"
            },
            unit="reqps",
            kind=Kind.STACK,
            width=6,
            alert="OrdersRefused",
        ),
        Panel(
            title="Share of 5xx",
            description="The objective is below 0.1 % over a month; dashed: where its budget burns"
            " fast.",
            queries={
                "5xx": 'sum(rate(http_requests_total{@,code=~"5.."}[$__rate_interval]))'
                " / sum(rate(http_requests_total{@}[$__rate_interval]))"
            },
            unit="percentunit",
            width=6,
            bad_above=0.0144,
            when_none="none so far",
            alert="ErrorBudgetBurnsFast",
        ),
        Panel(
            title="Time to accept an order",
            description="POST /api/orders/execute, commit included. The objective is 99 % within"
            " 250 ms (dashed).",
            queries=quantiles("http_request_seconds", where=POST),
            unit="s",
            width=6,
            bad_above=0.25,
            when_none="no order placed",
            alert="LatencyBudgetBurnsFast",
        ),
        Panel(
            title="Time to answer, other routes (p95)",
            description="Reads are a query each; above 100 ms PostgreSQL or the gateway is busy.",
            queries={
                "{{route}}": quantile(
                    0.95, "http_request_seconds", by="route", where='route!="/api/orders/execute"'
                )
            },
            unit="s",
            width=12,
        ),
        Panel(
            title="Requests beyond a limit",
            description="Answered 429, by whose limit it was. One client that asks too often is no"
            " trouble of the engine's; many at once are, when a proxy's address is counted for all"
            " of them (TRUSTED_PROXIES).",
            queries={
                "{{who}}": "sum by (who) (rate(http_requests_limited_total{@}[$__rate_interval]))"
            },
            unit="reqps",
            width=12,
            when_none="none so far",
        ),
    ],
)
