"""The WebSocket door: every status of an order, in order, each once, from any seq on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from uuid import UUID

import structlog
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from execution import metrics
from execution.adapters.group_commit import GroupCommit
from execution.adapters.orders import Orders
from execution.adapters.postgres import Reader
from execution.adapters.redis_clients import async_redis_client
from execution.domain.errors import Overloaded, StoreUnavailable
from execution.domain.ids import OrderId
from execution.settings import WsGatewaySettings
from ws_gateway.feeds import Feed, Feeds, parsed
from ws_gateway.subscriptions import Subscriptions

NAME = "ws-gateway"
SEND_TIMEOUT_S = 10.0
HISTORY_BATCH_MAX = 5_000

log = structlog.get_logger()


class Close(IntEnum):
    """Why a socket is closed by this side."""

    END = 1000  # the final status has been sent
    RESTART = 1012  # come again, with the last seq
    BAD_REQUEST = 4400
    NOT_FOUND = 4404
    SLOW_READER = 4408  # nothing is lost: come again, with the last seq


async def stream(websocket: WebSocket) -> None:
    """Accepts first and closes with a code then: a browser sees no code of a refused handshake."""
    await websocket.accept()
    code = Close.RESTART
    try:
        with metrics.SOCKETS.track_inprogress():
            code = await _stream(websocket)
        await websocket.close(code)
    except WebSocketDisconnect as gone:
        metrics.SOCKETS_CLOSED.labels(code=gone.code).inc()
        return
    metrics.SOCKETS_CLOSED.labels(code=int(code)).inc()


async def _stream(websocket: WebSocket) -> Close:
    order_id, after = _order_id(websocket), _after(websocket)
    if order_id is None:
        return Close.NOT_FOUND
    if after is None:
        return Close.BAD_REQUEST
    metrics.SOCKETS_OPENED.labels(resumed=after > 0).inc()
    try:
        async with websocket.app.state.feeds.follow(order_id) as feed:
            if feed.last == 0:
                return Close.NOT_FOUND
            return await _until_gone(websocket, feed, after)
    except (StoreUnavailable, Overloaded) as error:
        log.warning("stream not opened", order_id=str(order_id), error=str(error))
        return Close.RESTART


async def _until_gone(websocket: WebSocket, feed: Feed, after: int) -> Close:
    """Sends until the final event has been sent or the client has left."""
    sending = asyncio.create_task(_send(websocket, feed, after))
    listening = asyncio.create_task(_discard_messages(websocket))
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            return sending.result()
        listening.result()  # raises WebSocketDisconnect
        return Close.END
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)


async def _send(websocket: WebSocket, feed: Feed, cursor: int) -> Close:
    ping_s = websocket.app.state.ping_s
    while True:
        frames = await feed.beyond(cursor, timeout_s=ping_s)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if not frames and not feed.final:
                    await websocket.send_text('{"type":"ping"}')
                for text in frames:
                    await websocket.send_text(text)
                    metrics.FRAMES_SENT.inc()
        except TimeoutError:
            return Close.SLOW_READER
        cursor += len(frames)
        if feed.final and cursor >= feed.last:
            return Close.END


async def _discard_messages(websocket: WebSocket) -> None:
    """A client of this stream has nothing to say; reading notices that it has left."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))


def _order_id(websocket: WebSocket) -> OrderId | None:
    text = websocket.path_params["order_id"]
    with suppress(ValueError):
        order_id = UUID(text)
        if str(order_id) == text.lower():
            return OrderId(order_id)
    return None


def _after(websocket: WebSocket) -> int | None:
    text = websocket.query_params.get("after", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def ws_gateway_app(settings: WsGatewaySettings) -> Starlette:
    """The ASGI application; its lifespan opens and closes what it works with."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        commits = GroupCommit(
            settings.database_url, application_name=NAME, batch_max=HISTORY_BATCH_MAX
        )
        reader = Reader(
            settings.database_url,
            application_name=NAME,
            connections_max=settings.database_connections_max,
        )
        client = async_redis_client(settings.pubsub_url)
        orders = Orders(commits, reader, claimer=NAME)

        def on_message(order_id: OrderId, data: bytes) -> None:
            published = parsed(data)
            if published is None:
                metrics.EVENTS_DROPPED.labels(reason="unreadable").inc()
            else:
                feeds.offer(order_id, published)

        subscriptions = Subscriptions(client, on_message)
        feeds = Feeds(orders, subscriptions, check_s=settings.ws_position_check_s)
        app.state.feeds = feeds
        app.state.orders = orders
        app.state.ping_s = settings.ws_ping_s
        tasks = [
            asyncio.create_task(subscriptions.run()),
            asyncio.create_task(feeds.check_positions()),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()
        orders.close()

    return Starlette(
        routes=[WebSocketRoute("/api/orders/{order_id}/stream", stream)], lifespan=lifespan
    )
