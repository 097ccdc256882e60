"""The WebSocket application: its routes, and the services that it opens and closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.redis_needs import pubsub_faults, report_faults
from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import WsGatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.serving.health import front, health_response
from order_engine.serving.upgrade_required import upgrade_required
from order_engine.ws_gateway.admission import Admission
from order_engine.ws_gateway.feeds import Feeds
from order_engine.ws_gateway.registry import SocketRegistry
from order_engine.ws_gateway.services import Services
from order_engine.ws_gateway.streams import Endpoint, stream_many, stream_order, unknown_path
from order_engine.ws_gateway.subscriptions import Subscriptions
from order_engine.ws_gateway.verified_frames import verify_frame

NAME = "ws-gateway"
READS_TOGETHER_MAX = 5_000  # histories in one query
READS_WAITING_MAX = 50_000


async def health(_: Request) -> Response:
    """For load balancers that check each process at the port of its streams."""
    return health_response(timestamp(datetime.now(UTC)))


ROUTES = [
    Route("/", front),
    Route("/health", health),
    WebSocketRoute("/api/stream", Endpoint(stream_many)),
    WebSocketRoute("/api/orders/{order_id}/stream", Endpoint(stream_order)),
    Route("/api/stream", upgrade_required),
    Route("/api/orders/{order_id}/stream", upgrade_required),
    WebSocketRoute("/{path:path}", unknown_path),
]


class WsGateway(Starlette):
    """Starlette's application without its middleware around streams, which takes 1 KB of each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            scope["app"] = self
            await self.router(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def ws_gateway_app(settings: WsGatewaySettings) -> WsGateway:
    """The ASGI application; `app.state.services` is set while its lifespan runs."""

    @asynccontextmanager
    async def lifespan(app: WsGateway) -> AsyncIterator[None]:
        async with _open_services(settings) as app.state.services:
            yield

    return WsGateway(routes=ROUTES, lifespan=lifespan)


@asynccontextmanager
async def _open_services(settings: WsGatewaySettings) -> AsyncIterator[Services]:
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
    orders, keys, seal = Orders(commits, reader), ApiKeys(commits, reader), Seal()

    def on_message(order_id: OrderId, message: bytes) -> None:
        published = verify_frame(message, order_id=order_id, seal=seal)
        if published is not None:
            feeds.offer(order_id, published)

    subscriptions = Subscriptions(client, on_message)
    feeds = Feeds(orders, subscriptions, check_s=settings.ws_position_check_s)
    registry = _registry(settings)
    tasks = [
        asyncio.create_task(work)
        for work in (
            subscriptions.run(),
            seal.unlock(reader),
            feeds.check_positions(),
            registry.close_slow_readers(),
            report_faults(pubsub_faults, settings.pubsub_url),
            registry.close_revoked(keys, every_s=settings.ws_position_check_s),
        )
    ]
    try:
        yield Services(
            orders=orders,
            feeds=feeds,
            seal=seal,
            admission=_admission(settings, keys, StreamTokens(commits)),
            registry=registry,
            ping_s=settings.ws_ping_s,
            subscriptions_max=settings.ws_subscriptions_max,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()
        await orders.finish()


def _registry(settings: WsGatewaySettings) -> SocketRegistry:
    return SocketRegistry(
        {
            "process": settings.ws_connections_max,
            "address": settings.ws_connections_per_address,
            "key": settings.ws_connections_per_key,
        }
    )


def _admission(settings: WsGatewaySettings, keys: ApiKeys, tokens: StreamTokens) -> Admission:
    return Admission(
        None if settings.is_open else keys,
        tokens,
        origins=settings.cors_origins,
        is_for_this_machine=settings.is_for_this_machine,
    )
