"""The WebSocket endpoints.

`/api/orders/{id}/stream?after=SEQ` sends the statuses of one order and ends with it. `/api/stream`
sends those of every order that the client subscribes to; see commands.py. Besides frames, the
multiplexed stream sends

    {"type": "end", "orderId": "..."}                     the final status has been sent
    {"type": "error", "code": "...", "orderId": "..."}    a command failed and changed nothing
    {"type": "ping"}                                      nothing was sent for a while
"""

from collections.abc import Awaitable, Callable

import structlog
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from order_engine.execution import metrics
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import (
    OrderNotFound,
    Overloaded,
    StoreUnavailable,
    Unreadable,
)
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.execution.messages.stream_contract import Close
from order_engine.serving.bounds import CLOSE_WITHIN_S
from order_engine.serving.websocket import WIRE, WebSocketConnection
from order_engine.ws_gateway.admission import address_of
from order_engine.ws_gateway.command_loop import discard_messages, run_commands
from order_engine.ws_gateway.commands import parse_after
from order_engine.ws_gateway.refusals import CLIENT_CODES, Refused
from order_engine.ws_gateway.services import services
from order_engine.ws_gateway.sockets import Socket

# Clients that are refused, or that do not read, get less time to answer the close frame.
REFUSED_CLOSE_WITHIN_S = 1.0
REFUSED = frozenset({Close.SLOW_READER, Close.TOO_MANY, Close.UNAUTHORIZED, Close.FORBIDDEN})

log = structlog.get_logger()

Stream = Callable[[WebSocket, Caller], Awaitable[Close]]


async def stream_order(websocket: WebSocket, caller: Caller) -> Close:
    """Sends one order until its final status."""
    order_id = order_id_in(websocket.path_params["order_id"])
    after = parse_after(websocket.query_params.get("after", "0"))
    if order_id is None:
        return Close.NOT_FOUND
    if after is None:
        return Close.BAD_REQUEST
    metrics.SOCKETS_OPENED.labels(resumed="yes" if after > 0 else "no").inc()
    return await _run(websocket, caller, (order_id, after))


async def stream_many(websocket: WebSocket, caller: Caller) -> Close:
    """Sends the orders that the client subscribes to, until it disconnects."""
    metrics.SOCKETS_OPENED.labels(resumed="no").inc()
    return await _run(websocket, caller, None)


async def _run(websocket: WebSocket, caller: Caller, order: tuple[OrderId, int] | None) -> Close:
    state = services(websocket)
    socket = Socket(
        websocket,
        caller,
        state.feeds,
        ping_s=state.ping_s,
        subscriptions_max=state.subscriptions_max,
        is_multiplexed=order is None,
    )
    if not state.registry.is_accepting:
        return Close.RESTART
    state.registry.add(socket)
    try:
        if order is None:
            return await socket.run(run_commands(websocket, socket))
        order_id, after = order
        await socket.follow(order_id, after=after)
        return await socket.run(discard_messages(websocket))
    finally:
        state.registry.remove(socket)
        socket.unfollow_all()


class Endpoint:
    """The endpoint of a stream: admits the client, runs the stream, and closes with its code.

    An ASGI application and not a function, which Starlette would wrap in more of them: each is
    memory that every socket holds.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        wire: WebSocketConnection = scope["state"][WIRE]
        try:
            await websocket.accept()
            with metrics.SOCKETS.track_inprogress():
                code = await _admit_and_run(websocket, wire, self._stream)
        except WebSocketDisconnect as disconnect:
            label = disconnect.code if disconnect.code in CLIENT_CODES else "other"
            metrics.SOCKETS_CLOSED.labels(code=label).inc()
            return
        wire.finish(code, within_s=REFUSED_CLOSE_WITHIN_S if code in REFUSED else CLOSE_WITHIN_S)
        metrics.SOCKETS_CLOSED.labels(code=int(code)).inc()


async def _admit_and_run(websocket: WebSocket, wire: WebSocketConnection, stream: Stream) -> Close:
    state = services(websocket)
    if not state.registry.is_accepting:
        return Close.RESTART
    taken: list[tuple[str, str]] = []
    try:
        for limit in _limits_before_admission(websocket):
            state.registry.take(*limit)
            taken.append(limit)
        caller = await state.admission.admit(websocket)
        if caller.key_id is not None:
            state.registry.take("key", caller.key_id)
            taken.append(("key", caller.key_id))
        wire.forget_request()
        return await stream(websocket, caller)
    except Refused as refused:
        return refused.code
    except OrderNotFound:
        return Close.NOT_FOUND
    except (StoreUnavailable, Overloaded, Unreadable) as error:
        log.debug("stream not opened", path=websocket.url.path, error=str(error))
        return Close.RESTART
    finally:
        for limit in taken:
            state.registry.give_back(*limit)


def _limits_before_admission(websocket: WebSocket) -> list[tuple[str, str]]:
    address = address_of(websocket)
    return [("process", ""), ("address", address)] if address else [("process", "")]


async def unknown_path(websocket: WebSocket) -> None:
    """Closes sockets at paths that are not streams."""
    wire: WebSocketConnection = websocket.scope["state"][WIRE]
    await websocket.accept()
    wire.finish(Close.NOT_FOUND, within_s=REFUSED_CLOSE_WITHIN_S)
    metrics.SOCKETS_CLOSED.labels(code=int(Close.NOT_FOUND)).inc()
