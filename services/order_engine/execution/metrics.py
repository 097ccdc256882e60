"""Every metric of the fleet, in base units and without ids in labels."""

from collections.abc import Iterable
from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from order_engine.execution.domain.status import OrderStatus

disable_created_metrics()  # type: ignore[no-untyped-call]  # they add a second series per counter

FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ORDER_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 20, 30, 60, 120, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

# HTTP
HTTP_REQUESTS = Counter(
    "order_engine_http_requests_total", "Requests answered", ["route", "method", "code"]
)
HTTP_SECONDS = Histogram(
    "order_engine_http_request_seconds", "Time to answer a request", ["route"], buckets=FAST_SECONDS
)

REQUESTS_LIMITED = Counter(
    "order_engine_http_requests_limited_total",
    "Requests refused by the rate limit of a key or address",
    ["who"],
)

# Batches: writer, hints, publisher, chain
BATCH_SIZE = Histogram(
    "order_engine_batch_size_items", "Items that ran in one batch", ["batches"], buckets=SIZES
)
BATCH_OVERFLOWS = Counter(
    "order_engine_batch_overflows_total", "Calls refused because the backlog was full", ["batches"]
)

# PostgreSQL
COMMIT_SECONDS = Histogram(
    "order_engine_commit_seconds",
    "Time from sending a statement to its commit",
    ["statement"],
    buckets=FAST_SECONDS,
)
COMMIT_REPEATS = Counter(
    "order_engine_commit_repeats_total",
    "Statements sent again after a lost connection, a conflict or a row lock",
    ["statement", "reason"],
)
CONNECTIONS_READING = Gauge(
    "order_engine_pool_connections_in_use", "Connections of a pool that are reading", ["pool"]
)
READS_WAITING = Gauge(
    "order_engine_pool_reads_waiting", "Reads waiting for a connection of a pool", ["pool"]
)
LEASES_HELD = Gauge("order_engine_leases_held", "Orders leased to this process")
LEASE_RENEWALS_FAILED = Counter(
    "order_engine_lease_renewals_failed_total", "Failed attempts to renew the held leases"
)

# Orders
ORDERS_PLACED = Counter("order_engine_orders_placed_total", "Orders committed by this gateway")
ORDERS_MOVED = Counter(
    "order_engine_orders_moved_total", "Moves committed by this worker", ["status"]
)
ORDERS_CLAIMED = Counter(
    "order_engine_orders_claimed_total", "Claims of orders, by what led to them", ["way"]
)
ORDERS_FENCED = Counter(
    "order_engine_orders_fenced_total", "Writes refused because a later claim holds the order"
)
ORDER_SECONDS_TOTAL = Histogram(
    "order_engine_order_end_to_end_seconds",
    "Time from placing an order to its final status",
    ["status"],
    buckets=ORDER_SECONDS,
)
ORDERS_HUNG = Counter(
    "order_engine_orders_hung_total",
    "Repeated claims of orders that do not move and whose transaction may land",
)
ORDERS_SET_ASIDE = Counter(
    "order_engine_orders_set_aside_total",
    "Orders that a worker claimed, could not read, and postponed",
)
ORDERS_WAITING = Gauge(
    "order_engine_orders_waiting", "Orders not started by any worker, counted up to a bound"
)
ORDERS_STUCK = Gauge("order_engine_orders_stuck", "Started orders that no worker continues")
INVARIANT_VIOLATIONS = Counter(
    "order_engine_invariant_violations_total",
    "Violations of an invariant, found by the audit",
    ["invariant"],
)
ORDER_ATTEMPTS = Counter("order_engine_order_attempts_total", "Transient venue failures", ["step"])

# Venues
QUOTE_SECONDS = Histogram(
    "order_engine_venue_quote_seconds", "Time to a quote", ["venue"], buckets=FAST_SECONDS
)
VENUE_ERRORS = Counter(
    "order_engine_venue_errors_total", "Failed calls to a venue", ["venue", "call"]
)
ROUTES_WON = Counter("order_engine_routes_won_total", "Orders routed to a venue", ["venue"])

# Queues
HINTS_WRITTEN = Counter("order_engine_hints_written_total", "Hints written to Redis", ["queue"])
HINTS_DROPPED = Counter(
    "order_engine_hints_dropped_total",
    "Hints not written because Redis was away or the buffer full",
    ["queue"],
)
QUEUE_OLDEST_SECONDS = Gauge(
    "order_engine_queue_oldest_job_seconds", "Age of the head's job", ["queue"]
)
QUEUE_DEPTH = Gauge("order_engine_queue_depth_jobs", "Jobs waiting in Redis", ["queue"])

# Delivery
EVENTS_PUBLISHED = Counter(
    "order_engine_events_published_total", "Events published on Redis", ["status"]
)
EVENT_DISPATCH_SECONDS = Histogram(
    "order_engine_event_dispatch_seconds",
    "Time from commit to publication",
    ["status"],
    buckets=FAST_SECONDS,
)
SOCKETS = Gauge("order_engine_ws_connections", "Client sockets open")
SOCKETS_OPENED = Counter(
    "order_engine_ws_connections_opened_total", "Client sockets opened", ["resumed"]
)
SOCKETS_CLOSED = Counter(
    "order_engine_ws_connections_closed_total", "Client sockets closed", ["code"]
)
FRAMES_SENT = Counter("order_engine_ws_frames_sent_total", "Event frames sent")
FRAME_SECONDS = Histogram(
    "order_engine_ws_commit_to_frame_seconds",
    "Time from commit to sending the frame, for live events",
    buckets=FAST_SECONDS,
)
EVENTS_DROPPED = Counter(
    "order_engine_ws_events_dropped_total", "Published events that were dropped", ["reason"]
)
EVENTS_READ = Counter(
    "order_engine_ws_events_read_total", "Events read from PostgreSQL, by reason", ["reason"]
)
RESUMES = Counter("order_engine_ws_resumes_total", "Orders that a client resumed from a seq")
SUBSCRIPTIONS = Gauge("order_engine_ws_subscriptions", "Orders followed, summed over all sockets")
SOCKETS_REFUSED = Counter(
    "order_engine_ws_connections_refused_total", "Sockets refused by a limit", ["limit"]
)
SLOW_READERS = Counter(
    "order_engine_ws_slow_readers_total",
    "Sockets closed because the client did not read, by bound",
    ["bound"],
)
ERRORS_SENT = Counter(
    "order_engine_ws_errors_sent_total", "Errors sent on multiplexed streams", ["code"]
)
READS_HELD = Counter(
    "order_engine_ws_reads_held_total",
    "Pauses in reading from a client that has too many requests in progress",
)


def _initialise_labels(metric: Counter, **values: Iterable[str]) -> None:
    """Creates each series at 0: a series that starts with its first count hides that count from rate()."""
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
