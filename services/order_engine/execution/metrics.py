"""Every metric of the fleet: base units, no ids in labels."""

from collections.abc import Iterable
from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from order_engine.execution.domain.status import OrderStatus

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter

FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ORDER_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 20, 30, 60, 120, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

# HTTP
HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ["route", "method", "code"])
HTTP_SECONDS = Histogram(
    "http_request_seconds", "Time to answer a request", ["route"], buckets=FAST_SECONDS
)

REQUESTS_LIMITED = Counter(
    "http_requests_limited_total", "Requests beyond the limit of a key or address", ["who"]
)

# Batches: writer, hints, publisher, chain
BATCH_SIZE = Histogram("batch_size_items", "Items that ran together", ["batches"], buckets=SIZES)
BATCH_OVERFLOWS = Counter("batch_overflows_total", "Calls refused, backlog full", ["batches"])

# PostgreSQL
COMMIT_SECONDS = Histogram(
    "commit_seconds", "One statement, sent to committed", ["statement"], buckets=FAST_SECONDS
)
COMMIT_REPEATS = Counter(
    "commit_repeats_total",
    "Statements sent again: connection lost, conflict, or a row locked",
    ["statement", "reason"],
)
CONNECTIONS_READING = Gauge(
    "pool_connections_in_use", "Connections of a pool that read now", ["pool"]
)
READS_WAITING = Gauge("pool_reads_waiting", "Reads that wait for a connection of a pool", ["pool"])
LEASES_HELD = Gauge("leases_held", "Orders leased to this process")
LEASE_RENEWALS_FAILED = Counter(
    "lease_renewals_failed_total", "Times when the leases in hand could not be renewed"
)

# Orders
ORDERS_PLACED = Counter("orders_placed_total", "Orders committed by this gateway")
ORDERS_MOVED = Counter("orders_moved_total", "Moves committed by this worker", ["status"])
ORDERS_CLAIMED = Counter("orders_claimed_total", "Orders claimed, by the way they came", ["way"])
ORDERS_FENCED = Counter(
    "orders_fenced_total", "Writes refused because a later claim holds the order"
)
ORDER_SECONDS_TOTAL = Histogram(
    "order_end_to_end_seconds", "From committed to final", ["status"], buckets=ORDER_SECONDS
)
ORDERS_HUNG = Counter(
    "orders_hung_total", "Claims of orders that many claims before have not moved, and may land"
)
ORDERS_WAITING = Gauge("orders_waiting", "Orders that no worker has started, up to the bound")
ORDERS_STUCK = Gauge("orders_stuck", "Started orders that nobody goes on with")
INVARIANT_VIOLATIONS = Counter(
    "invariant_violations_total", "Orders that break what must always be true", ["invariant"]
)
ORDER_ATTEMPTS = Counter("order_attempts_total", "Transient venue failures", ["step"])

# Venues
QUOTE_SECONDS = Histogram("venue_quote_seconds", "Time to a quote", ["venue"], buckets=FAST_SECONDS)
VENUE_ERRORS = Counter("venue_errors_total", "Calls to a venue that failed", ["venue", "call"])
ROUTES_WON = Counter("routes_won_total", "Orders routed to a venue", ["venue"])

# Queues
HINTS_WRITTEN = Counter("hints_written_total", "Jobs written to Redis", ["queue"])
HINTS_DROPPED = Counter(
    "hints_dropped_total", "Jobs not written: Redis away or buffer full", ["queue"]
)
QUEUE_OLDEST_SECONDS = Gauge("queue_oldest_job_seconds", "Age of the head's job", ["queue"])
QUEUE_DEPTH = Gauge("queue_depth_jobs", "Jobs waiting in Redis", ["queue"])

# Delivery
EVENTS_PUBLISHED = Counter("events_published_total", "Events published to subscribers", ["status"])
EVENT_DISPATCH_SECONDS = Histogram(
    "event_dispatch_seconds", "From committed to published", ["status"], buckets=FAST_SECONDS
)
SOCKETS = Gauge("ws_connections", "Client sockets open")
SOCKETS_OPENED = Counter("ws_connections_opened_total", "Client sockets opened", ["resumed"])
SOCKETS_CLOSED = Counter("ws_connections_closed_total", "Client sockets closed", ["code"])
FRAMES_SENT = Counter("ws_frames_sent_total", "Event frames sent")
FRAME_SECONDS = Histogram(
    "ws_commit_to_frame_seconds", "From committed to sent, live events only", buckets=FAST_SECONDS
)
EVENTS_DROPPED = Counter("ws_events_dropped_total", "Published events not used", ["reason"])
EVENTS_READ = Counter("ws_events_read_total", "Events read from PostgreSQL, by why", ["reason"])
RESUMES = Counter("ws_resumes_total", "Orders followed on from a seq that the client has")
SUBSCRIPTIONS = Gauge("ws_subscriptions", "Orders followed, counted for each socket")
SOCKETS_REFUSED = Counter(
    "ws_connections_refused_total", "Sockets beyond a limit, by whose it is", ["limit"]
)
SLOW_READERS = Counter(
    "ws_slow_readers_total", "Sockets closed because nothing was read, by the bound", ["bound"]
)
ERRORS_SENT = Counter("ws_errors_sent_total", "Requests of multiplexed streams refused", ["code"])
READS_HELD = Counter(
    "ws_reads_held_total", "Times that a client was not read because too much was under way"
)


def _initialise_labels(metric: Counter, **values: Iterable[str]) -> None:
    """A series that appears with its first count has no rate then: the first fault would not show."""
    for labels in product(*values.values()):
        metric.labels(**dict(zip(values, labels, strict=True)))


_initialise_labels(ORDERS_MOVED, status=OrderStatus)
_initialise_labels(ORDERS_CLAIMED, way=("hint", "refused", "started", "watermark", "without_redis"))
_initialise_labels(ORDER_ATTEMPTS, step=OrderStatus)
_initialise_labels(REQUESTS_LIMITED, who=("address", "key"))
_initialise_labels(EVENTS_PUBLISHED, status=OrderStatus)
_initialise_labels(EVENTS_READ, reason=("connect", "gap", "position_check"))
_initialise_labels(EVENTS_DROPPED, reason=("repeated", "unreadable", "unsealed"))
_initialise_labels(SOCKETS_REFUSED, limit=("process", "key", "address"))
_initialise_labels(SLOW_READERS, bound=("frames", "bytes", "time"))
