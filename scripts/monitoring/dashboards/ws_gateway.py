"""The WebSocket gateways: who is connected, and do clients get their frames in time?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantiles, rate, rates

# every process exports all metrics, most of them as 0
OWN = 'app_kubernetes_io_component="ws-gateway"'

SOCKETS = Row(
    title="Sockets",
    panels=[
        Panel(
            title="Open",
            description="By pod. After a rollout the sockets are spread unevenly for a while.",
            queries={"{{pod}}": f"sum by (pod) (order_engine_ws_connections{{@,{OWN}}})"},
            unit="short",
            kind=Kind.STACK,
        ),
        Panel(
            title="Orders followed",
            description="Counted per socket; one multiplexed socket follows many orders.",
            queries={"subscriptions": "sum(order_engine_ws_subscriptions{@})"},
            unit="short",
        ),
        Panel(
            title="Opened",
            description="resumed: the client reconnected with a seq. Many at once come from a rollout, or"
            " a network that breaks connections.",
            queries={
                "resumed {{resumed}}": rate(
                    "order_engine_ws_connections_opened_total", by="resumed"
                )
            },
            unit="cps",
            kind=Kind.STACK,
        ),
        Panel(
            title="Closed, by code",
            description="1000: the order has ended, normal. 1001, 1005, 1006: the client left. 1012: a"
            " restart. 4408: the client does not read. 4429: too many sockets. 4400 to 4404:"
            " wrong requests.",
            queries=rates("order_engine_ws_connections_closed_total", by="code"),
            unit="cps",
            kind=Kind.STACK,
            alert="SlowReaders",
        ),
        Panel(
            title="Refused, by limit",
            description="process: the fleet is full, scale it. address, key: one client has too many"
            " sockets.",
            queries=rates("order_engine_ws_connections_refused_total", by="limit"),
            unit="cps",
            when_none="none so far",
            alert="SocketsRefused",
        ),
        Panel(
            title="Clients that do not read or answer",
            description="Slow readers by the limit that they reached, and sockets cut off because the"
            " client did not answer the close. A few are normal, for example phones that lose"
            " their network.",
            queries={
                "slow, {{bound}}": rate("order_engine_ws_slow_readers_total", by="bound"),
                "cut off": rate("order_engine_ws_connections_cut_off_total"),
            },
            unit="cps",
            alert="SlowReaders",
        ),
    ],
)

FRAMES = Row(
    title="Frames",
    panels=[
        Panel(
            title="Sent",
            description="Event frames, over all sockets.",
            queries={"frames": rate("order_engine_ws_frames_sent_total")},
            unit="cps",
        ),
        Panel(
            title="From committed to sent",
            description="Live events only. Tens of milliseconds are normal; above a second check the"
            " dispatchers first.",
            queries=quantiles("order_engine_ws_commit_to_frame_seconds"),
            unit="s",
            alert="DispatchLag",
        ),
        Panel(
            title="Distribution",
            description="Frames by their delay.",
            queries={
                "{{le}}": "sum by (le)"
                " (increase(order_engine_ws_commit_to_frame_seconds_bucket{@}[$__rate_interval]))"
            },
            unit="s",
            kind=Kind.HEAT,
        ),
        Panel(
            title="Events read from PostgreSQL",
            description="connect: the history for a new socket, normal. gap: an event was missing."
            " position_check: pub/sub did not deliver it; many of these mean that Redis is"
            " silent.",
            queries=rates("order_engine_ws_events_read_total", by="reason"),
            unit="cps",
            alert="PubSubSilent",
        ),
        Panel(
            title="Published events not used",
            description="repeated is harmless: the event had been read before it was published. All"
            " others are messages that could not be verified or read.",
            queries=rates("order_engine_ws_events_dropped_total", by="reason"),
            unit="cps",
            when_none="none so far",
            alert="PubSubSilent",
        ),
        Panel(
            title="Orders resumed",
            description="Followed from a seq that the client already has.",
            queries={"resumes": rate("order_engine_ws_resumes_total")},
            unit="cps",
        ),
    ],
)

REQUESTS = Row(
    title="Requests and connections",
    panels=[
        Panel(
            title="Requests refused on multiplexed streams",
            description="By code. store_unavailable is caused by the engine, the others by the clients.",
            queries=rates("order_engine_ws_errors_sent_total", by="code"),
            unit="cps",
            when_none="none so far",
        ),
        Panel(
            title="Clients made to wait",
            description="Their input was not read for a short time, because too many of their requests"
            " were in progress. Normally rare.",
            queries={"held": rate("order_engine_ws_reads_held_total")},
            unit="cps",
        ),
        Panel(
            title="Connections without a request in time",
            description="Of all public ports. Many come from a scanner, or from a client that holds"
            " connections open to exhaust them.",
            queries=rates("order_engine_connections_late_total", by="app_kubernetes_io_component"),
            unit="cps",
        ),
    ],
)

WS_GATEWAY = Dashboard(
    name="ws-gateway",
    title="WebSocket gateway",
    description="Who is connected, and do clients get their frames in time?",
    rows=[SOCKETS, FRAMES, REQUESTS],
)
