"""Frames that reach clients late, or without pub/sub."""

from monitoring.rule import Alert

DELIVERY = (
    Alert(
        name="DispatchLag",
        severity="warning",
        query="""
histogram_quantile(0.95, sum by (le, status) (rate(order_engine_event_dispatch_seconds_bucket{@}[5m]))) > 1
""",
        lasting="10m",
        summary="{{ $labels.status }} is published {{ $value | humanizeDuration }} after its commit",
        description="5 % of the events take at least this long to reach the subscribers.",
    ),
    Alert(
        name="EventsStale",
        severity="warning",
        query="sum by (queue) (rate(rq_slots_jobs_stale_total{@}[5m])) > 0",
        lasting="10m",
        summary="{{ $value | humanize }} events/s of {{ $labels.queue }} are too old to publish",
        description="The dispatcher is more than 5 s behind. Clients get these events through the position"
        " check, at most 2 s late, which costs queries to PostgreSQL.",
    ),
    Alert(
        name="PubSubSilent",
        severity="warning",
        query="""
sum(rate(order_engine_ws_events_read_total{@,reason="position_check"}[10m]))
/
sum(rate(order_engine_ws_frames_sent_total{@}[10m]))
> 0.2
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the frames came through the position check",
        description="Events do not reach the WebSocket gateways through pub/sub. Clients get all of"
        " them, up to 2 s late.",
    ),
    Alert(
        name="SocketsRefused",
        severity="warning",
        query="sum by (limit) (rate(order_engine_ws_connections_refused_total{@}[5m])) > 0",
        lasting="10m",
        summary="{{ $value | humanize }} sockets/s are refused by the limit of a {{ $labels.limit }}",
        description="Connections are refused with close code 4429. Limit process: the fleet is full.",
    ),
    Alert(
        name="SlowReaders",
        severity="warning",
        query="""
sum(rate(order_engine_ws_slow_readers_total{@}[10m]))
/
sum(rate(order_engine_ws_connections_opened_total{@}[10m]))
> 0.05
and on ()
sum(increase(order_engine_ws_slow_readers_total{@}[10m])) >= 10
""",
        lasting="10m",
        summary="{{ $value | humanizePercentage }} of the sockets are closed as slow readers",
        description="Clients, or a proxy, do not read what they are sent. Their sockets are closed with"
        " 4408, and they reconnect.",
    ),
)
