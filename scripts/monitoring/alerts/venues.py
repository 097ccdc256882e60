"""Venues that fail."""

from monitoring.rule import Alert

VENUES = (
    Alert(
        name="QuotesFailing",
        severity="warning",
        query="""
sum by (venue) (rate(order_engine_venue_errors_total{@,call="quote"}[5m]))
/
sum by (venue) (rate(order_engine_venue_quote_seconds_count{@}[5m]))
> 0.2
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the quotes of {{ $labels.venue }} fail",
        description="Orders go to the other venue, at its price, and are retried when no venue answers.",
    ),
    Alert(
        name="SettlementFailing",
        severity="warning",
        query="""
sum by (venue) (rate(order_engine_venue_errors_total{@,call="settle"}[10m]))
> on (venue)
sum by (venue) (rate(order_engine_routes_won_total{@}[10m]))
""",
        lasting="10m",
        summary="{{ $value | humanize }} calls/s to {{ $labels.venue }} about sent transactions fail",
        description="More than one per order that is routed there. Orders stay submitted until the"
        " venue reports their outcome.",
    ),
)
