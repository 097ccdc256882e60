"""For each alert: a fleet in which it fires, and a similar one in which it does not.

Series as promtool writes them, a value a minute; `@` stands for the labels of the release.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]

HOUR = "1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Evaluated `at` this long after the first value. `labels` and `summary` belong to the alert."""

    fires: Series
    quiet: Series
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)
    at: str = HOUR


def up(workloads: Mapping[str, str]) -> Series:
    return {
        f'up{{@,pod="{name}-1",app_kubernetes_io_component="{name}"}}': values
        for name, values in workloads.items()
    }


WORKLOADS = (
    "gateway",
    "order-worker",
    "ws-gateway",
    "status-dispatcher-pending",
    "status-dispatcher-routing",
    "status-dispatcher-building",
    "status-dispatcher-submitted",
    "status-dispatcher-confirmed",
    "status-dispatcher-failed",
)
ALL_UP = dict.fromkeys(WORKLOADS, "1x60")

POST = '@,route="/api/orders/execute"'

ORDERS = {
    "InvariantViolated": Case(
        # every gateway finds the same order: it counts once
        fires={
            'order_engine_invariant_violations_total{@,pod="a",invariant="more_than_one_final_event"}': "0 1x60",
            'order_engine_invariant_violations_total{@,pod="b",invariant="more_than_one_final_event"}': "1x60",
        },
        quiet={
            'order_engine_invariant_violations_total{@,pod="a",invariant="more_than_one_final_event"}': "0x60"
        },
        labels={"invariant": "more_than_one_final_event"},
        summary="more_than_one_final_event: 1 orders",
    ),
    "OrdersStuck": Case(
        fires={
            'order_engine_orders_stuck{@,pod="a"}': "3x60",
            'order_engine_orders_stuck{@,pod="b"}': "2x60",
        },
        quiet={
            'order_engine_orders_stuck{@,pod="a"}': "0x58 3x5"
        },  # and recovered within two minutes
        summary="3 started orders are stuck",
    ),
    "OrdersHung": Case(
        fires={"order_engine_orders_hung_total{@}": "0x55 1x10"},
        quiet={"order_engine_orders_hung_total{@}": "0x10 1x60"},  # long ago
        summary="An order was claimed again and again without progress",
    ),
    "OrdersSetAside": Case(
        fires={"order_engine_orders_set_aside_total{@}": "0x55 1x10"},
        quiet={"order_engine_orders_set_aside_total{@}": "0x10 1x60"},  # repaired long ago
        summary="An order cannot be read and was set aside",
    ),
    "NothingConfirmed": Case(
        fires={
            'order_engine_orders_waiting{@,pod="a"}': "7x60",
            'order_engine_orders_moved_total{@,status="confirmed"}': "0+10x40 400x30",
            'order_engine_orders_moved_total{@,status="failed"}': "0+10x60",
        },
        quiet={
            'order_engine_orders_waiting{@,pod="a"}': "7x60",
            'order_engine_orders_moved_total{@,status="confirmed"}': "0+1x60",
        },
        summary="7 orders wait, and none was confirmed for 5 minutes",
    ),
    "BacklogSlow": Case(
        fires={
            'order_engine_orders_waiting{@,pod="a"}': "4000x60",
            'order_engine_orders_waiting{@,pod="b"}': "4000x60",
            'order_engine_orders_claimed_total{@,way="hint"}': "0+100x60",
            'order_engine_orders_claimed_total{@,way="started"}': "0+9000x60",  # not started for the first time
        },
        quiet={
            'order_engine_orders_waiting{@,pod="a"}': "1400x60",
            'order_engine_orders_waiting{@,pod="b"}': "1400x60",
            'order_engine_orders_claimed_total{@,way="hint"}': "0+100x60",
        },
        summary="A new order waits 40m 0s before it is started",
    ),
    "OrdersFailing": Case(
        fires={
            'order_engine_orders_moved_total{@,status="confirmed"}': "0+6x60",
            'order_engine_orders_moved_total{@,status="failed"}': "0+4x60",
        },
        quiet={  # half of them, but few orders
            'order_engine_orders_moved_total{@,status="confirmed"}': "0+1x30 30x30",
            'order_engine_orders_moved_total{@,status="failed"}': "0+1x30 30x30",
        },
        summary="40% of the orders that end have failed",
    ),
    "OrdersRecovered": Case(
        fires={
            'order_engine_orders_claimed_total{@,way="hint"}': "0+80x60",
            'order_engine_orders_claimed_total{@,way="started"}': "0+20x60",
            'order_engine_orders_claimed_total{@,way="refused"}': "0+900x60",
        },
        quiet={
            'order_engine_orders_claimed_total{@,way="hint"}': "0+95x60",
            'order_engine_orders_claimed_total{@,way="started"}': "0+5x60",
        },
        labels={"way": "started"},
        summary="20% of the claims are recoveries (started)",
    ),
    "LeasesNotRenewed": Case(
        fires={"order_engine_lease_renewals_failed_total{@}": "0+2x60"},
        quiet={"order_engine_lease_renewals_failed_total{@}": "0x50 4x20"},
        summary="Leases could not be renewed 20 times in 10 minutes",
    ),
    "OrdersFenced": Case(
        fires={
            "order_engine_orders_fenced_total{@}": "0+10x60",
            'order_engine_orders_claimed_total{@,way="hint"}': "0+100x60",
        },
        quiet={  # cancelled ones
            "order_engine_orders_fenced_total{@}": "0+3x60",
            'order_engine_orders_claimed_total{@,way="hint"}': "0+100x60",
        },
        summary="150 writes of workers without a lease were refused",
    ),
}

QUEUES = {
    "QueueStalled": Case(
        fires={
            'order_engine_queue_depth_jobs{@,pod="a",queue="orders"}': "12x60",
            'order_engine_queue_depth_jobs{@,pod="b",queue="orders"}': "12x60",
            'rq_slots_jobs_started_total{@,queue="orders"}': "0+5x30 150x60",
        },
        quiet={  # the limit of 100 a minute, reached in bursts
            'order_engine_queue_depth_jobs{@,pod="a",queue="orders"}': "900x60",
            'rq_slots_jobs_started_total{@,queue="orders"}': "0x2 100x1 200x1 300x1 400x60",
            'rq_slots_jobs_started_total{@,pod="x",queue="orders"}': "0 0 100 100 200 200 300 300+50x60",
        },
        labels={"queue": "orders"},
        summary="12 jobs wait in orders, and none was started for 5 minutes",
    ),
    "SlotsExhausted": Case(
        fires={
            'rq_slots_capacity{@,pod="a",queue="orders"}': "10x60",
            'rq_slots_busy{@,pod="a",queue="orders"}': "10x60",
            'order_engine_queue_depth_jobs{@,pod="g",queue="orders"}': "5x60",
        },
        quiet={  # busy, and nothing waits
            'rq_slots_capacity{@,pod="a",queue="orders"}': "10x60",
            'rq_slots_busy{@,pod="a",queue="orders"}': "10x60",
            'order_engine_queue_depth_jobs{@,pod="g",queue="orders"}': "0x60",
        },
        labels={"queue": "orders"},
        summary="All slots of orders are busy while jobs wait",
    ),
    "WithoutRedis": Case(
        fires={
            'rq_slots_without_redis{@,pod="a",queue="orders"}': "1x60",
            'rq_slots_without_redis{@,pod="b",queue="orders"}': "1x60",
        },
        quiet={'rq_slots_without_redis{@,pod="a",queue="orders"}': "0x58 1x5"},
        labels={"queue": "orders"},
        summary="2 workers of orders are without Redis",
    ),
    "RedisUnusable": Case(
        fires={
            'rq_slots_redis_unusable{@,pod="a",queue="orders"}': "1x60",
            'rq_slots_redis_unusable{@,pod="b",queue="orders"}': "1x60",
        },
        quiet={'rq_slots_redis_unusable{@,pod="a",queue="orders"}': "0x58 1x5"},
        labels={"queue": "orders"},
        summary="2 workers of orders cannot use what Redis holds",
    ),
    "HintsDropped": Case(
        fires={'order_engine_hints_dropped_total{@,queue="orders"}': "0+60x60"},
        quiet={'order_engine_hints_dropped_total{@,queue="orders"}': "0x40 50x30"},
        labels={"queue": "orders"},
        summary="1 jobs/s cannot be written to orders",
    ),
    "QuarantineGrows": Case(
        fires={'rq_slots_jobs_quarantined_total{@,queue="orders"}': "0x50 1x20"},
        quiet={'rq_slots_jobs_quarantined_total{@,queue="orders"}': "0x5 1x60"},
        labels={"queue": "orders"},
        summary="orders received jobs that cannot be read",
    ),
    "JobsFailing": Case(
        fires={
            'rq_slots_jobs_finished_total{@,queue="orders",outcome="failed"}': "0+1x60",
            'rq_slots_jobs_finished_total{@,queue="orders",outcome="succeeded"}': "0+9x60",
        },
        quiet={
            'rq_slots_jobs_finished_total{@,queue="orders",outcome="failed"}': "0+1x60",
            'rq_slots_jobs_finished_total{@,queue="orders",outcome="succeeded"}': "0+99x60",
        },
        labels={"queue": "orders"},
        summary="10% of the jobs of orders fail",
    ),
}

DELIVERY = {
    "DispatchLag": Case(
        fires={
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="1"}': "0+90x60",
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="2.5"}': "0+100x60",
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="+Inf"}': "0+100x60",
        },
        quiet={
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="1"}': "0+96x60",
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="2.5"}': "0+100x60",
            'order_engine_event_dispatch_seconds_bucket{@,status="routing",le="+Inf"}': "0+100x60",
        },
        labels={"status": "routing"},
        summary="routing is published 1.75s after its commit",
    ),
    "EventsStale": Case(
        fires={'rq_slots_jobs_stale_total{@,queue="order-status-routing"}': "0+60x60"},
        quiet={'rq_slots_jobs_stale_total{@,queue="order-status-routing"}': "0x50 30x20"},
        labels={"queue": "order-status-routing"},
        summary="1 events/s of order-status-routing are too old to publish",
    ),
    "PubSubSilent": Case(
        fires={
            'order_engine_ws_events_read_total{@,reason="position_check"}': "0+50x60",
            "order_engine_ws_frames_sent_total{@}": "0+100x60",
        },
        quiet={
            'order_engine_ws_events_read_total{@,reason="position_check"}': "0+10x60",
            'order_engine_ws_events_read_total{@,reason="connect"}': "0+90x60",
            "order_engine_ws_frames_sent_total{@}": "0+100x60",
        },
        summary="50% of the frames came through the position check",
    ),
    "SocketsRefused": Case(
        fires={'order_engine_ws_connections_refused_total{@,limit="process"}': "0+120x60"},
        quiet={'order_engine_ws_connections_refused_total{@,limit="process"}': "0x50 9x20"},
        labels={"limit": "process"},
        summary="2 sockets/s are refused by the limit of a process",
    ),
    "SlowReaders": Case(
        fires={
            'order_engine_ws_slow_readers_total{@,bound="frames"}': "0+10x60",
            'order_engine_ws_connections_opened_total{@,resumed="no"}': "0+100x60",
        },
        quiet={  # some always are
            'order_engine_ws_slow_readers_total{@,bound="frames"}': "0+2x60",
            'order_engine_ws_connections_opened_total{@,resumed="no"}': "0+100x60",
        },
        summary="10% of the sockets are closed as slow readers",
    ),
}

HTTP = {
    "OrdersRefused": Case(
        fires={
            f'order_engine_http_requests_total{{{POST},method="POST",code="503"}}': "0+10x60",
            f'order_engine_http_requests_total{{{POST},method="POST",code="201"}}': "0+90x60",
        },
        quiet={  # one answer, and nothing but it
            f'order_engine_http_requests_total{{{POST},method="POST",code="503"}}': "0x57 1x20",
            f'order_engine_http_requests_total{{{POST},method="POST",code="201"}}': "50x60",
        },
        summary="10% of the orders are refused with 503",
    ),
    "ErrorBudgetBurnsFast": Case(
        fires={
            'order_engine_http_requests_total{@,route="/health",method="GET",code="500"}': "0+2x60",
            'order_engine_http_requests_total{@,route="/health",method="GET",code="200"}': "0+98x60",
        },
        quiet={  # an hour ago it was worse, but that is over
            'order_engine_http_requests_total{@,route="/health",method="GET",code="500"}': "0+9x40 360x30",
            'order_engine_http_requests_total{@,route="/health",method="GET",code="200"}': "0+98x60",
        },
        summary="2% of the requests of the last hour got a 5xx",
    ),
    "ErrorBudgetBurns": Case(
        fires={
            'order_engine_http_requests_total{@,route="/health",method="GET",code="500"}': "0+1x480",
            'order_engine_http_requests_total{@,route="/health",method="GET",code="200"}': "0+99x480",
        },
        quiet={  # five in a thousand
            'order_engine_http_requests_total{@,route="/health",method="GET",code="500"}': "0+5x480",
            'order_engine_http_requests_total{@,route="/health",method="GET",code="200"}': "0+995x480",
        },
        at="7h",
        summary="1% of the requests of the last 6 hours got a 5xx",
    ),
    "LatencyBudgetBurnsFast": Case(
        fires={
            f'order_engine_http_request_seconds_bucket{{{POST},le="0.25"}}': "0+80x60",
            f"order_engine_http_request_seconds_count{{{POST}}}": "0+100x60",
        },
        quiet={  # few requests
            f'order_engine_http_request_seconds_bucket{{{POST},le="0.25"}}': "0x60",
            f"order_engine_http_request_seconds_count{{{POST}}}": "0+1x60",
        },
        summary="20% of the orders of the last hour took over 250 ms to be accepted",
    ),
    "LatencyBudgetBurns": Case(
        fires={
            f'order_engine_http_request_seconds_bucket{{{POST},le="0.25"}}': "0+90x480",
            f"order_engine_http_request_seconds_count{{{POST}}}": "0+100x480",
        },
        quiet={
            f'order_engine_http_request_seconds_bucket{{{POST},le="0.25"}}': "0+95x480",
            f"order_engine_http_request_seconds_count{{{POST}}}": "0+100x480",
        },
        at="7h",
        summary="10% of the orders of the last 6 hours took over 250 ms to be accepted",
    ),
}

STORES = {
    "CommitSlow": Case(
        fires={
            'order_engine_commit_seconds_bucket{@,statement="move",le="0.5"}': "0+90x60",
            'order_engine_commit_seconds_bucket{@,statement="move",le="1"}': "0+100x60",
            'order_engine_commit_seconds_bucket{@,statement="move",le="+Inf"}': "0+100x60",
        },
        quiet={
            'order_engine_commit_seconds_bucket{@,statement="move",le="0.5"}': "0+995x60",
            'order_engine_commit_seconds_bucket{@,statement="move",le="1"}': "0+1000x60",
            'order_engine_commit_seconds_bucket{@,statement="move",le="+Inf"}': "0+1000x60",
        },
        summary="Commits take 950ms (p99)",
    ),
    "CommitRepeats": Case(
        fires={'order_engine_commit_repeats_total{@,statement="move",reason="locked"}': "0+30x60"},
        quiet={  # a failover
            'order_engine_commit_repeats_total{@,statement="move",reason="lost"}': "0x52 40x20"
        },
        labels={"reason": "locked"},
        summary="500m statements/s are sent again (locked)",
    ),
    "ReadsWaiting": Case(
        fires={
            'order_engine_pool_reads_waiting{@,app_kubernetes_io_component="gateway",pool="gateway"}': "3x60"
        },
        quiet={
            'order_engine_pool_reads_waiting{@,app_kubernetes_io_component="gateway",pool="gateway"}': "_ 0 90 90x2"
            " 0 90x3 0 90x2 0 90x3 0 90x3 0 90x3 0 90x3 0 90x3 0 90x3 0 90x3 0 90x3 0 90x3 0 90x9"
        },
        labels={"app_kubernetes_io_component": "gateway", "pool": "gateway"},
        summary="At least 3 reads wait for a connection of gateway",
    ),
    "BatchesFull": Case(
        fires={'order_engine_batch_overflows_total{@,batches="order-worker"}': "0+60x60"},
        quiet={'order_engine_batch_overflows_total{@,batches="order-worker"}': "0x40 90x30"},
        labels={"batches": "order-worker"},
        summary="1 calls/s are refused: the backlog of order-worker is full",
    ),
}

VENUES = {
    "QuotesFailing": Case(
        fires={
            'order_engine_venue_errors_total{@,venue="raydium",call="quote"}': "0+30x60",
            'order_engine_venue_quote_seconds_count{@,venue="raydium"}': "0+100x60",
            'order_engine_venue_quote_seconds_count{@,venue="meteora"}': "0+100x60",
        },
        quiet={
            'order_engine_venue_errors_total{@,venue="raydium",call="quote"}': "0+10x60",
            'order_engine_venue_quote_seconds_count{@,venue="raydium"}': "0+100x60",
        },
        labels={"venue": "raydium"},
        summary="30% of the quotes of raydium fail",
    ),
    "SettlementFailing": Case(
        fires={
            'order_engine_venue_errors_total{@,venue="raydium",call="settle"}': "0+120x60",
            'order_engine_routes_won_total{@,venue="raydium"}': "0+60x60",
        },
        quiet={
            'order_engine_venue_errors_total{@,venue="raydium",call="settle"}': "0+30x60",
            'order_engine_routes_won_total{@,venue="raydium"}': "0+60x60",
        },
        labels={"venue": "raydium"},
        summary="2 calls/s to raydium about sent transactions fail",
    ),
}

FLEET = {
    "WorkloadDown": Case(
        fires=up(ALL_UP | {"order-worker": "1x40 0x30"}),
        quiet=up(ALL_UP | {"order-worker": "1x55 0x2 1x10"}),
        labels={
            "app_kubernetes_io_component": "order-worker",
            "app_kubernetes_io_instance": "engine",
        },
        summary="No order-worker is up",
    ),
    "PodDown": Case(
        fires=up(ALL_UP | {"gateway": "1x30 0x40"}),
        quiet=up(ALL_UP | {"gateway": "1x30 0x20 _x20"}),  # it is gone, as after a scale-in
        labels={
            "app_kubernetes_io_component": "gateway",
            "app_kubernetes_io_instance": "engine",
            "pod": "gateway-1",
        },
        summary="gateway-1 cannot be scraped",
    ),
    "PodRestarts": Case(
        fires={
            'process_start_time_seconds{@,app_kubernetes_io_component="gateway",pod="g-1"}': "1x40"
            " 2x5 3x5 4x20"
        },
        quiet={
            'process_start_time_seconds{@,app_kubernetes_io_component="gateway",pod="g-1"}': "1x40"
            " 2x30"
        },
        labels={"app_kubernetes_io_component": "gateway", "pod": "g-1"},
        summary="g-1 was restarted 3 times in half an hour",
    ),
    "EventLoopLag": Case(
        fires={
            f'order_engine_event_loop_lag_seconds_bucket{{@,app_kubernetes_io_component="ws-gateway",pod="w-1",'
            f'le="{le}"}}': values
            for le, values in (("0.25", "0+40x60"), ("0.5", "0+60x60"), ("+Inf", "0+60x60"))
        },
        quiet={
            f'order_engine_event_loop_lag_seconds_bucket{{@,app_kubernetes_io_component="ws-gateway",pod="w-1",'
            f'le="{le}"}}': values
            for le, values in (("0.25", "0+57x60"), ("0.5", "0+60x60"), ("+Inf", "0+60x60"))
        },
        labels={"app_kubernetes_io_component": "ws-gateway", "pod": "w-1"},
        summary="The event loop of w-1 is 425ms late (p90)",
    ),
    "FilesExhausted": Case(
        fires={
            'process_open_fds{@,app_kubernetes_io_component="ws-gateway",pod="w-1"}': "900x60",
            'process_max_fds{@,app_kubernetes_io_component="ws-gateway",pod="w-1"}': "1000x60",
        },
        quiet={
            'process_open_fds{@,app_kubernetes_io_component="ws-gateway",pod="w-1"}': "700x60",
            'process_max_fds{@,app_kubernetes_io_component="ws-gateway",pod="w-1"}': "1000x60",
        },
        labels={"app_kubernetes_io_component": "ws-gateway", "pod": "w-1"},
        summary="w-1 has 90% of its files open",
    ),
    "VersionsMixed": Case(
        fires={
            'order_engine_build_info{@,pod="a",version="0.1.0"}': "1x90",
            'order_engine_build_info{@,pod="b",version="0.2.0"}': "1x90",
        },
        quiet={  # a rollout
            'order_engine_build_info{@,pod="a",version="0.1.0"}': "1x70 _x20",
            'order_engine_build_info{@,pod="b",version="0.2.0"}': "_x60 1x30",
        },
        at="80m",
        summary="2 versions run side by side",
    ),
}

CASES: Mapping[str, Case] = {
    **ORDERS,
    **QUEUES,
    **DELIVERY,
    **HTTP,
    **STORES,
    **VENUES,
    **FLEET,
}
