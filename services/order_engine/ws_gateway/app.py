"""The WebSocket doors: every status of orders, in order, each once, from any seq on.

`/api/orders/{id}/stream?after=SEQ` is one order, and ends with it. `/api/stream` is as many as the
client subscribes to. It says what requests.py reads, and gets, besides frames:

    {"type": "end", "orderId": "..."}                     the final status has been sent: this
                                                          subscription is over
    {"type": "error", "code": "...", "orderId": "..."}    a request failed, and changed nothing; the
                                                          orderId is as the client wrote it
    {"type": "ping"}                                      nothing else for a while

Frames of an order may still come for a moment after it was unsubscribed from. Codes of errors:
bad_request, order_not_found, too_many_subscriptions, and store_unavailable, which passes.

`GET /health` is for load balancers that ask each process at the port of its streams.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from order_engine.execution import metrics
from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import OrderNotFound, Overloaded, StoreUnavailable
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.seals import Seal
from order_engine.execution.messages.streams import Close
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import WsGatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.serving.bounds import CLOSE_WITHIN_S
from order_engine.serving.health import health_response
from order_engine.serving.websocket import WIRE, WebSocketConnection
from order_engine.ws_gateway.admission import Door, address_of
from order_engine.ws_gateway.close_codes import CLIENT_CODES, Refused
from order_engine.ws_gateway.command_loop import listen_to_nothing, listen_to_requests
from order_engine.ws_gateway.commands import after_of
from order_engine.ws_gateway.feeds import Feeds
from order_engine.ws_gateway.incoming import opened
from order_engine.ws_gateway.registry import Register
from order_engine.ws_gateway.sockets import Socket
from order_engine.ws_gateway.subscriptions import Subscriptions

NAME = "ws-gateway"
READS_TOGETHER_MAX = 5_000
READS_WAITING_MAX = 50_000
# who is refused or does not read is not waited for as long as others
HURRIED_CLOSE_WITHIN_S = 1.0
HURRIED = frozenset({Close.SLOW_READER, Close.TOO_MANY, Close.UNAUTHORIZED, Close.FORBIDDEN})

log = structlog.get_logger()

Stream = Callable[[WebSocket, Caller], Awaitable[Close]]


async def stream_order(websocket: WebSocket, caller: Caller) -> Close:
    order_id = order_id_in(websocket.path_params["order_id"])
    after = after_of(websocket.query_params.get("after", "0"))
    if order_id is None:
        return Close.NOT_FOUND
    if after is None:
        return Close.BAD_REQUEST
    metrics.SOCKETS_OPENED.labels(resumed="yes" if after > 0 else "no").inc()
    return await _run(websocket, caller, (order_id, after))


async def stream_many(websocket: WebSocket, caller: Caller) -> Close:
    metrics.SOCKETS_OPENED.labels(resumed="no").inc()
    return await _run(websocket, caller, None)


async def _run(websocket: WebSocket, caller: Caller, order: tuple[OrderId, int] | None) -> Close:
    state = websocket.app.state
    settings: WsGatewaySettings = state.settings
    register: Register = state.register
    socket = Socket(
        websocket,
        caller,
        state.feeds,
        ping_s=settings.ws_ping_s,
        subscriptions_max=settings.ws_subscriptions_max,
        is_multiplexed=order is None,
    )
    with register.entered(socket):
        if not register.is_accepting:
            return Close.RESTART
        try:
            if order is None:
                return await socket.run(listen_to_requests(websocket, socket))
            order_id, after = order
            await socket.follow(order_id, after=after)
            return await socket.run(listen_to_nothing(websocket))
        finally:
            socket.leave()


def admitted(stream: Stream) -> Callable[[WebSocket], Awaitable[None]]:
    """The stream, for those who may have it: each is accepted, and told a code when it is closed."""

    async def endpoint(websocket: WebSocket) -> None:
        wire: WebSocketConnection = websocket.scope["state"][WIRE]
        try:
            await websocket.accept()
            with metrics.SOCKETS.track_inprogress():
                code = await _until_over(websocket, stream)
        except WebSocketDisconnect as gone:
            told = gone.code if gone.code in CLIENT_CODES else "other"
            metrics.SOCKETS_CLOSED.labels(code=told).inc()
            return
        wire.finish(code, within_s=HURRIED_CLOSE_WITHIN_S if code in HURRIED else CLOSE_WITHIN_S)
        metrics.SOCKETS_CLOSED.labels(code=int(code)).inc()

    return endpoint


async def _until_over(websocket: WebSocket, stream: Stream) -> Close:
    state = websocket.app.state
    register: Register = state.register
    door: Door = state.door
    if not register.is_accepting:
        return Close.RESTART
    try:
        with ExitStack() as places:
            places.enter_context(register.place("process"))
            if address := address_of(websocket):
                places.enter_context(register.place("address", address))
            caller = await door.admit(websocket)
            if caller.key_id is not None:
                places.enter_context(register.place("key", caller.key_id))
            return await stream(websocket, caller)
    except Refused as refused:
        return refused.code
    except OrderNotFound:
        return Close.NOT_FOUND
    except (StoreUnavailable, Overloaded) as error:
        log.debug("stream not opened", path=websocket.url.path, error=str(error))
        return Close.RESTART


async def unknown(websocket: WebSocket) -> None:
    """A path where no stream is."""
    wire: WebSocketConnection = websocket.scope["state"][WIRE]
    await websocket.accept()
    wire.finish(Close.NOT_FOUND, within_s=HURRIED_CLOSE_WITHIN_S)
    metrics.SOCKETS_CLOSED.labels(code=int(Close.NOT_FOUND)).inc()


async def health(_: Request) -> Response:
    return health_response(timestamp(datetime.now(UTC)))


ROUTES = [
    Route("/health", health),
    WebSocketRoute("/api/stream", admitted(stream_many)),
    WebSocketRoute("/api/orders/{order_id}/stream", admitted(stream_order)),
    WebSocketRoute("/{path:path}", unknown),
]


def ws_gateway_app(settings: WsGatewaySettings) -> Starlette:
    """The ASGI application; its lifespan opens and closes what it works with."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        commits = GroupCommit(
            settings.database_url,
            application_name=NAME,
            batch_max=READS_TOGETHER_MAX,
            backlog_max=READS_WAITING_MAX,
        )
        reader = Reader(
            settings.database_url,
            application_name=NAME,
            connections_max=settings.database_connections_max,
        )
        client = async_redis_client(settings.pubsub_url)
        orders, keys, seal = Orders(commits, reader, claimer=NAME), ApiKeys(commits, reader), Seal()

        def on_message(order_id: OrderId, message: bytes) -> None:
            published = opened(message, order_id=order_id, seal=seal)
            if published is not None:
                feeds.offer(order_id, published)

        subscriptions = Subscriptions(client, on_message)
        feeds = Feeds(orders, subscriptions, check_s=settings.ws_position_check_s)
        app.state.feeds, app.state.orders, app.state.seal = feeds, orders, seal
        app.state.door = Door(
            None if settings.is_open else keys,
            StreamTokens(commits),
            origins=settings.cors_origins,
            is_for_this_machine=settings.is_for_this_machine,
        )
        tasks = [
            asyncio.create_task(work)
            for work in (
                subscriptions.run(),
                seal.unlock(reader),
                feeds.check_positions(),
                register.watch_readers(),
                register.check_keys(keys, every_s=settings.ws_position_check_s),
            )
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()
        orders.close()

    register = Register(
        {
            "process": settings.ws_connections_max,
            "address": settings.ws_connections_per_address,
            "key": settings.ws_connections_per_key,
        }
    )
    app = Starlette(routes=ROUTES, lifespan=lifespan)
    app.state.settings, app.state.register = settings, register
    return app
