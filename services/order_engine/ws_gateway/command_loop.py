"""Reads what clients send, and runs the commands of the multiplexed stream.

Reading pauses while too many commands of a client are in progress, or too many answers are unread.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from order_engine.execution import metrics
from order_engine.execution.domain.errors import (
    ExecutionError,
    OrderNotFound,
    Overloaded,
    StoreUnavailable,
    Unreadable,
)
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.stream_contract import StreamErrorCode
from order_engine.ws_gateway.commands import (
    BadRequest,
    Subscribe,
    echoed_id,
    parse_command,
    parse_object,
)
from order_engine.ws_gateway.sockets import Socket, TooManySubscriptions

FOLLOWING_MAX = 200

ERROR_CODES: Mapping[type[ExecutionError], StreamErrorCode] = {
    BadRequest: StreamErrorCode.BAD_REQUEST,
    OrderNotFound: StreamErrorCode.ORDER_NOT_FOUND,
    TooManySubscriptions: StreamErrorCode.TOO_MANY_SUBSCRIPTIONS,
    Unreadable: StreamErrorCode.STORE_UNAVAILABLE,
    StoreUnavailable: StreamErrorCode.STORE_UNAVAILABLE,
    Overloaded: StreamErrorCode.STORE_UNAVAILABLE,
}


async def discard_messages(websocket: WebSocket) -> None:
    """Reads until the client disconnects: a stream of one order takes no commands."""
    while True:
        await _message(websocket)


async def run_commands(websocket: WebSocket, socket: Socket) -> None:
    """Runs the commands of a client. A command that fails is answered with an error."""
    following: set[asyncio.Task[None]] = set()
    try:
        while True:
            message = await _message(websocket)
            fields: Mapping[str, Any] = {}
            try:
                fields = parse_object(message)
                command = parse_command(fields)
                if not isinstance(command, Subscribe):
                    socket.unfollow(command.order_id)
                elif socket.begin_follow(command.order_id, after=command.after):
                    task = asyncio.create_task(_follow(socket, command.order_id, fields))
                    following.add(task)
                    task.add_done_callback(following.discard)
            except ExecutionError as error:
                _send_error(socket, error, fields)
            if len(following) >= FOLLOWING_MAX:
                metrics.READS_HELD.inc()
                await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            await socket.wait_for_capacity()
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _follow(socket: Socket, order_id: OrderId, fields: Mapping[str, Any]) -> None:
    try:
        await socket.finish_follow(order_id)
    except ExecutionError as error:
        _send_error(socket, error, fields)


def _send_error(socket: Socket, error: ExecutionError, fields: Mapping[str, Any]) -> None:
    code = ERROR_CODES[type(error)]
    metrics.ERRORS_SENT.labels(code=code).inc()
    socket.send_soon({"type": "error", "code": code, **echoed_id(fields)})


async def _message(websocket: WebSocket) -> Mapping[str, Any]:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    return message
