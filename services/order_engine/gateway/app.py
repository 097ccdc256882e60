"""The HTTP application: its routes, its middleware, and the services that it opens and closes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.hints import Hints
from order_engine.execution.messages.redis_needs import queue_faults, report_faults
from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import GatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import async_redis_client, redis_client
from order_engine.gateway.contract.asyncapi import asyncapi
from order_engine.gateway.endpoints.documents import openapi
from order_engine.gateway.middleware.access import AccessPolicy
from order_engine.gateway.middleware.edge import Edge
from order_engine.gateway.middleware.rate_limits import RequestLimits
from order_engine.gateway.monitor import Monitor
from order_engine.gateway.routes import routes
from order_engine.gateway.services import Services
from order_engine.serving.health import front, health_response
from order_engine.serving.upgrade_required import upgrade_required

NAME = "gateway"
UNLOCK_PATIENCE_S = 1.0  # while the seal is locked, frames are late but not lost


def _now() -> datetime:
    return datetime.now(UTC)


async def health(_: Request) -> Response:
    return health_response(timestamp(_now()))


ROUTES = [
    *routes({"getHealth": health}),
    Route("/", front),
    Route("/openapi.json", openapi),
    Route("/asyncapi.json", asyncapi),
    # streams of clients that did not upgrade, or that a proxy sent to the wrong gateway
    Route("/api/stream", upgrade_required),
    Route("/api/orders/{order_id}/stream", upgrade_required),
]


class Gateway(Starlette):
    """Starlette's application with one middleware in place of its own."""

    def __init__(
        self, limits: RequestLimits, *, origins: Sequence[str], lifespan: Lifespan["Gateway"]
    ) -> None:
        super().__init__(routes=ROUTES, lifespan=lifespan)
        self.router.redirect_slashes = False  # a path with a trailing slash is an unknown path
        self._limits = limits
        self._origins = origins

    def build_middleware_stack(self) -> ASGIApp:
        return Edge(self.router, limits=self._limits, origins=self._origins)


def gateway_app(settings: GatewaySettings) -> Gateway:
    """The ASGI application; `app.state.services` is set while its lifespan runs."""
    limits = RequestLimits(
        per_address=settings.http_rate_limit_per_address, per_key=settings.http_rate_limit_per_key
    )

    @asynccontextmanager
    async def lifespan(app: Gateway) -> AsyncIterator[None]:
        async with _open_services(settings, limits) as app.state.services:
            yield

    return Gateway(limits, origins=settings.cors_origins, lifespan=lifespan)


@asynccontextmanager
async def _open_services(
    settings: GatewaySettings, limits: RequestLimits
) -> AsyncIterator[Services]:
    seal = Seal()
    hints = Hints(async_redis_client(settings.queue_url), seal, now=_now)
    commits = GroupCommit(settings.database_url, application_name=NAME, on_events=hints.announce)
    key_commits = GroupCommit(settings.database_url, application_name=f"{NAME}-keys")
    reader = Reader(
        settings.database_url,
        application_name=NAME,
        connections_max=settings.database_connections_max,
    )
    orders, keys = Orders(commits, reader), ApiKeys(key_commits, reader)
    monitor = Monitor(
        orders,
        redis_client(settings.queue_url),
        orders_waiting_max=settings.orders_waiting_max,
        now=_now,
    )
    unlocking = asyncio.create_task(seal.unlock(reader))
    tasks = [
        unlocking,
        asyncio.create_task(monitor.run()),
        asyncio.create_task(report_faults(queue_faults, settings.queue_url)),
    ]
    await asyncio.wait([unlocking], timeout=UNLOCK_PATIENCE_S)
    try:
        yield Services(
            orders=orders,
            keys=keys,
            stream_tokens=StreamTokens(key_commits),
            monitor=monitor,
            access=_access_policy(settings, keys, limits),
            body_bytes_max=settings.body_bytes_max,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(orders.finish(), key_commits.finish())
        await hints.finish()


def _access_policy(settings: GatewaySettings, keys: ApiKeys, limits: RequestLimits) -> AccessPolicy:
    return AccessPolicy(
        keys=None if settings.is_open else keys,
        is_for_this_machine=settings.is_for_this_machine,
        cors_origins=settings.cors_origins,
        limits=limits,
    )
