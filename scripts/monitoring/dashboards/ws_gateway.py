"""The WebSocket gateways: who is connected, and does everybody get every frame in time?"""

from monitoring.dashboard import Dashboard, Kind, Panel, Row, quantiles

# every process exports all metrics, most of them as 0
OWN = 'app_kubernetes_io_component="ws-gateway"'

SOCKETS = Row(
    title="Sockets",
    panels=[
        Panel(
            title="Open",
            description="By pod. An uneven spread after a rollout is usual, and ends by itself.",
            queries={"{{pod}}": f"sum by (pod) (ws_connections{{@,{OWN}}})"},
            unit="short",
            kind=Kind.STACK,
        ),
        Panel(
            title="Orders followed",
            description="Counted for each socket; one multiplexed socket follows many.",
            queries={"subscriptions": "sum(ws_subscriptions{@})"},
            unit="short",
        ),
        Panel(
            title="Opened",
            description="resumed: the client came back with a seq. Many at once are a rollout, or a"
            " network that breaks connections.",
            queries={
                "resumed {{resumed}}": "sum by (resumed)"
                " (rate(ws_connections_opened_total{@}[$__rate_interval]))"
            },
            unit="cps",
            kind=Kind.STACK,
        ),
        Panel(
            title="Closed, by code",
            description="1000: the order has ended, well. 1001, 1005, 1006: the client went. 1012:"
            " a restart. 4408: does not read. 4429: too many. 4400 to 4404: wrong requests.",
            queries={
                "{{code}}": "sum by (code) (rate(ws_connections_closed_total{@}[$__rate_interval]))"
            },
            unit="cps",
            kind=Kind.STACK,
            alert="SlowReaders",
        ),
        Panel(
            title="Refused, by whose limit",
            description="process: the fleet is full, scale it. address, key: one client has too many.",
            queries={
                "{{limit}}": "sum by (limit)"
                " (rate(ws_connections_refused_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="SocketsRefused",
        ),
        Panel(
            title="Clients that do not read, or not answer",
            description="Slow readers by the bound that they broke, and sockets cut off because the"
            " client did not answer the close. Single ones are usual: phones in tunnels.",
            queries={
                "slow, {{bound}}": "sum by (bound)"
                " (rate(ws_slow_readers_total{@}[$__rate_interval]))",
                "cut off": "sum(rate(ws_connections_cut_off_total{@}[$__rate_interval]))",
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
            queries={"frames": "sum(rate(ws_frames_sent_total{@}[$__rate_interval]))"},
            unit="cps",
        ),
        Panel(
            title="From committed to sent",
            description="Live events only. Tens of milliseconds are well; above a second look at the"
            " dispatchers first.",
            queries=quantiles("ws_commit_to_frame_seconds"),
            unit="s",
            alert="DispatchLag",
        ),
        Panel(
            title="Distribution",
            description="Where the frames lie.",
            queries={
                "{{le}}": "sum by (le)"
                " (increase(ws_commit_to_frame_seconds_bucket{@}[$__rate_interval]))"
            },
            unit="s",
            kind=Kind.HEAT,
        ),
        Panel(
            title="Events read from PostgreSQL",
            description="connect: the history of a new socket, usual. gap: one was missing. "
            "position_check: pub/sub did not bring it; a lot of these is a silent Redis.",
            queries={
                "{{reason}}": "sum by (reason) (rate(ws_events_read_total{@}[$__rate_interval]))"
            },
            unit="cps",
            alert="PubSubSilent",
        ),
        Panel(
            title="Published events not used",
            description="repeated is harmless: read before it was published. All others are messages"
            " that could not be believed or read.",
            queries={
                "{{reason}}": "sum by (reason) (rate(ws_events_dropped_total{@}[$__rate_interval]))"
            },
            unit="cps",
            when_none="none so far",
            alert="PubSubSilent",
        ),
        Panel(
            title="Orders resumed",
            description="Followed on from a seq that the client already has.",
            queries={"resumes": "sum(rate(ws_resumes_total{@}[$__rate_interval]))"},
            unit="cps",
        ),
    ],
)

DOOR = Row(
    title="At the door",
    panels=[
        Panel(
            title="Requests refused on multiplexed streams",
            description="By code. store_unavailable is ours; the others are the clients'.",
            queries={"{{code}}": "sum by (code) (rate(ws_errors_sent_total{@}[$__rate_interval]))"},
            unit="cps",
            when_none="none so far",
        ),
        Panel(
            title="Clients made to wait",
            description="Not read for a moment because they had too much under way. Seldom is well.",
            queries={"held": "sum(rate(ws_reads_held_total{@}[$__rate_interval]))"},
            unit="cps",
        ),
        Panel(
            title="Connections without a request in time",
            description="Of all doors. Many are a scanner, or a client that holds connections open to"
            " exhaust them.",
            queries={
                "{{app_kubernetes_io_component}}": "sum by (app_kubernetes_io_component)"
                " (rate(connections_late_total{@}[$__rate_interval]))"
            },
            unit="cps",
        ),
    ],
)

WS_GATEWAY = Dashboard(
    name="ws-gateway",
    title="WebSocket gateway",
    description="Who is connected, and does everybody get every frame in time?",
    rows=[SOCKETS, FRAMES, DOOR],
)
