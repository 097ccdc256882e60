"""What clients say is read, and on the multiplexed stream done.

A client that asks for more than is done, or than it reads the answers of, is not read for a while.
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
)
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.streams import StreamErrorCode
from order_engine.ws_gateway.commands import BadRequest, Subscribe, echo_of, fields_of, request_of
from order_engine.ws_gateway.sockets import Socket, TooManySubscriptions

JOINING_MAX = 200

ERROR_CODES: Mapping[type[ExecutionError], StreamErrorCode] = {
    BadRequest: StreamErrorCode.BAD_REQUEST,
    OrderNotFound: StreamErrorCode.ORDER_NOT_FOUND,
    TooManySubscriptions: StreamErrorCode.TOO_MANY_SUBSCRIPTIONS,
    StoreUnavailable: StreamErrorCode.STORE_UNAVAILABLE,
    Overloaded: StreamErrorCode.STORE_UNAVAILABLE,
}


async def listen_to_nothing(websocket: WebSocket) -> None:
    """A client of one order has nothing to say; reading notices that it has left."""
    while True:
        await _message(websocket)


async def listen_to_requests(websocket: WebSocket, socket: Socket) -> None:
    """Does what the client asks for; a request that fails is answered, and ends nothing."""
    joining: set[asyncio.Task[None]] = set()
    try:
        while True:
            message = await _message(websocket)
            fields: Mapping[str, Any] = {}
            try:
                fields = fields_of(message)
                request = request_of(fields)
                if not isinstance(request, Subscribe):
                    socket.unfollow(request.order_id)
                elif socket.wants(request.order_id, after=request.after):
                    task = asyncio.create_task(_join(socket, request.order_id, fields))
                    joining.add(task)
                    task.add_done_callback(joining.discard)
            except ExecutionError as error:
                _say_error(socket, error, fields)
            if len(joining) >= JOINING_MAX:
                metrics.READS_HELD.inc()
                await asyncio.wait(joining, return_when=asyncio.FIRST_COMPLETED)
            await socket.room()
    finally:
        for task in joining:
            task.cancel()
        await asyncio.gather(*joining, return_exceptions=True)


async def _join(socket: Socket, order_id: OrderId, fields: Mapping[str, Any]) -> None:
    try:
        await socket.join(order_id)
    except ExecutionError as error:
        _say_error(socket, error, fields)


def _say_error(socket: Socket, error: ExecutionError, fields: Mapping[str, Any]) -> None:
    code = ERROR_CODES[type(error)]
    metrics.ERRORS_SENT.labels(code=code).inc()
    socket.say({"type": "error", "code": code, **echo_of(fields)})


async def _message(websocket: WebSocket) -> Mapping[str, Any]:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    return message
