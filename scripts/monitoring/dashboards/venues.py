"""Venues and routing: which venue wins the orders, how fast venues quote, and what fails."""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile, rates

ROUTING = Row(
    title="Routing",
    panels=[
        Panel(
            title="Orders won",
            description="Each order goes to the better effective price. A venue that wins none is"
            " expensive or does not answer.",
            queries=rates("order_engine_routes_won_total", by="venue"),
            unit="cps",
            kind=Kind.STACK,
            alert="QuotesFailing",
        ),
        Panel(
            title="Share of the orders won",
            description="Over the last 15 minutes.",
            queries={
                "{{venue}}": "sum by (venue) (rate(order_engine_routes_won_total{@}[15m]))"
                " / on () group_left () sum(rate(order_engine_routes_won_total{@}[15m]))"
            },
            unit="percentunit",
        ),
        Panel(
            title="Orders won in the selected time",
            description="In total.",
            queries={
                "{{venue}}": "sum by (venue) (increase(order_engine_routes_won_total{@}[$__range]))"
            },
            unit="short",
            kind=Kind.BARS,
            when_none="none",
        ),
    ],
)

QUOTES = Row(
    title="Quotes",
    panels=[
        Panel(
            title="Time to a quote (p95)",
            description="An order waits for the slower venue, at most 2 s. About 250 ms with the"
            " simulated venues.",
            queries={"{{venue}}": quantile(0.95, "order_engine_venue_quote_seconds", by="venue")},
            unit="s",
            bad_above=2,
            alert="QuotesFailing",
        ),
        Panel(
            title="Quotes requested",
            description="One from each venue per order, and again for each retry.",
            queries=rates("order_engine_venue_quote_seconds_count", by="venue"),
            unit="cps",
        ),
        Panel(
            title="Quotes that failed",
            description="Share of the requested quotes. Above a fifth (dashed) many orders are executed"
            " at the price of the venue that answers.",
            queries={
                "{{venue}}": "sum by (venue)"
                ' (rate(order_engine_venue_errors_total{@,call="quote"}[$__rate_interval]))'
                " / sum by (venue) (rate(order_engine_venue_quote_seconds_count{@}[$__rate_interval]))"
            },
            unit="percentunit",
            bad_above=0.2,
            when_none="none so far",
            alert="QuotesFailing",
        ),
    ],
)

SETTLEMENT = Row(
    title="Settlement",
    panels=[
        Panel(
            title="Failed calls about sent transactions",
            description="Sending a transaction or asking for its outcome. The calls are repeated; the"
            " order stays submitted until one succeeds.",
            queries=rates("order_engine_venue_errors_total", by="venue", where='call="settle"'),
            unit="cps",
            width=6,
            when_none="none so far",
            alert="SettlementFailing",
        ),
        Panel(
            title="Attempts that failed, by step",
            description="The order is retried after a pause, by default three times. Then it fails,"
            " unless one of its transactions may still land.",
            queries=rates("order_engine_order_attempts_total", by="step"),
            unit="cps",
            width=6,
            when_none="none so far",
            alert="QuotesFailing",
        ),
        Panel(
            title="Time from committed to final (p95)",
            description="By final status.",
            queries={
                "{{status}}": quantile(0.95, "order_engine_order_end_to_end_seconds", by="status")
            },
            unit="s",
            width=6,
            when_none="no order ended",
        ),
        Panel(
            title="Statements of the simulated chain (p95)",
            description="Its ledger has a database apart from the engine's. Real venues have none.",
            queries={
                "{{statement}}": quantile(
                    0.95,
                    "order_engine_commit_seconds",
                    by="statement",
                    where='statement=~"chain_.+"',
                )
            },
            unit="s",
            width=6,
            alert="SettlementFailing",
        ),
    ],
)


VENUES = Dashboard(
    name="venues",
    title="Venues and routing",
    description="Which venue wins the orders, how fast do venues quote, and what fails?",
    rows=[ROUTING, QUOTES, SETTLEMENT],
)
