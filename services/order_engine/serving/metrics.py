"""Metrics of the server and of the process around it."""

from prometheus_client import Counter, Histogram, Info

LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

BUILD = Info("order_engine_build", "Version of the running code")
LOOP_LAG = Histogram(
    "order_engine_event_loop_lag_seconds", "Delay of the event loop's wake-ups", buckets=LAG_BUCKETS
)
HEADS_LATE = Counter(
    "order_engine_connections_late_total", "Connections ended because a request's head was late"
)
CONNECTIONS_ENDED = Counter(
    "order_engine_connections_ended_total",
    "Connections ended because the client exceeded a bound",
    ["bound"],
)
SOCKETS_CUT_OFF = Counter(
    "order_engine_ws_connections_cut_off_total",
    "WebSockets aborted because the client did not answer the close",
)

# Without a zero before it, the first count of a series has no rate.
for _bound in ("address", "connections", "head", "message", "requests", "unread"):
    CONNECTIONS_ENDED.labels(bound=_bound)
