"""Venues and routing: who wins the orders, how fast they quote, and what fails."""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantile

ROUTING = Row(
    title="Routing",
    panels=[
        Panel(
            title="Orders won",
            description="Each goes to the better effective price. Both win some; a venue that wins"
            " none is dear, or does not answer.",
            queries={"{{venue}}": "sum by (venue) (rate(routes_won_total{@}[$__rate_interval]))"},
            unit="cps",
            kind=Kind.STACK,
            alert="QuotesFailing",
        ),
        Panel(
            title="Share of the orders won",
            description="Over the last quarter of an hour.",
            queries={
                "{{venue}}": "sum by (venue) (rate(routes_won_total{@}[15m]))"
                " / on () group_left () sum(rate(routes_won_total{@}[15m]))"
            },
            unit="percentunit",
        ),
        Panel(
            title="Won in the chosen time",
            description="As a sum.",
            queries={"{{venue}}": "sum by (venue) (increase(routes_won_total{@}[$__range]))"},
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
            description="An order waits for the slower of its venues, for at most 2 s. Some 250 ms with"
            " the simulated ones.",
            queries={"{{venue}}": quantile(0.95, "venue_quote_seconds", by="venue")},
            unit="s",
            bad_above=2,
            alert="QuotesFailing",
        ),
        Panel(
            title="Quotes asked for",
            description="One of each venue for an order, and again for each retry.",
            queries={
                "{{venue}}": "sum by (venue) (rate(venue_quote_seconds_count{@}[$__rate_interval]))"
            },
            unit="cps",
        ),
        Panel(
            title="Quotes that failed",
            description="Share of those asked for. Above a fifth (dashed) orders are sold at the price"
            " of who still answers.",
            queries={
                "{{venue}}": "sum by (venue)"
                ' (rate(venue_errors_total{@,call="quote"}[$__rate_interval]))'
                " / sum by (venue) (rate(venue_quote_seconds_count{@}[$__rate_interval]))"
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
            title="Failed calls about sent orders",
            description="Sending, or asking what became of it. They are made again; an order waits as"
            " submitted meanwhile.",
            queries={
                "{{venue}}": "sum by (venue)"
                ' (rate(venue_errors_total{@,call="settle"}[$__rate_interval]))'
            },
            unit="cps",
            width=6,
            when_none="none so far",
            alert="SettlementFailing",
        ),
        Panel(
            title="Attempts that failed, by step",
            description="The order tries again after a pause, three times unless set otherwise, and"
            " then fails if no transaction of its may land.",
            queries={"{{step}}": "sum by (step) (rate(order_attempts_total{@}[$__rate_interval]))"},
            unit="cps",
            width=6,
            when_none="none so far",
            alert="QuotesFailing",
        ),
        Panel(
            title="Time from committed to final (p95)",
            description="By how the order ended.",
            queries={"{{status}}": quantile(0.95, "order_end_to_end_seconds", by="status")},
            unit="s",
            width=6,
            when_none="no order ended",
        ),
        Panel(
            title="Statements of the simulated chain (p95)",
            description="Its ledger's own database, apart from the engine's. Real venues have none.",
            queries={
                "{{statement}}": quantile(
                    0.95, "commit_seconds", by="statement", where='statement=~"chain_.+"'
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
    description="Who wins the orders, how fast do venues quote, and what fails?",
    rows=[ROUTING, QUOTES, SETTLEMENT],
)
