"""The HTTP application: its routes, its middleware, and the services that it opens and closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.hints import Hints
from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import GatewaySettings
from order_engine.execution.stores.closing import close_together
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.gateway.contract.asyncapi import asyncapi
from order_engine.gateway.contract.problems import (
    answer_execution_error,
    answer_http_error,
    answer_unexpected,
    on_client_disconnect,
)
from order_engine.gateway.endpoints.documents import openapi
from order_engine.gateway.middleware.access import AccessPolicy
from order_engine.gateway.middleware.cors import Cors
from order_engine.gateway.middleware.metrics import RequestMetrics
from order_engine.gateway.middleware.rate_limits import Limited, RequestLimits
from order_engine.gateway.monitor import Monitor
from order_engine.gateway.routes import routes
from order_engine.gateway.services import Services
from order_engine.serving.health import health_response

NAME = "gateway"
UNLOCK_PATIENCE_S = 1.0  # while the seal is locked, frames are late but not lost


def _now() -> datetime:
    return datetime.now(UTC)


async def health(_: Request) -> Response:
    return health_response(timestamp(_now()))


ROUTES = [
    Route("/openapi.json", openapi),
    Route("/asyncapi.json", asyncapi),
    *routes({"getHealth": health}),
]


def gateway_app(settings: GatewaySettings) -> Starlette:
    """The ASGI application; `app.state.services` is set while its lifespan runs."""
    limits = RequestLimits(
        per_address=settings.http_rate_limit_per_address, per_key=settings.http_rate_limit_per_key
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with _open_services(settings, limits) as app.state.services:
            yield

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[
            Middleware(RequestMetrics),
            # outside of Limited, so that pages of allowed origins can read a 429
            Middleware(Cors, limits=limits, origins=settings.cors_origins),
            Middleware(Limited, limits=limits),
        ],
        exception_handlers={
            ExecutionError: answer_execution_error,
            HTTPException: answer_http_error,
            ClientDisconnect: on_client_disconnect,
            Exception: answer_unexpected,
        },
    )
    app.router.redirect_slashes = False  # a path with a trailing slash is an unknown path
    return app


@asynccontextmanager
async def _open_services(
    settings: GatewaySettings, limits: RequestLimits
) -> AsyncIterator[Services]:
    commits = GroupCommit(settings.database_url, application_name=NAME)
    key_commits = GroupCommit(settings.database_url, application_name=f"{NAME}-keys")
    reader = Reader(
        settings.database_url,
        application_name=NAME,
        connections_max=settings.database_connections_max,
    )
    orders, keys, seal = Orders(commits, reader), ApiKeys(key_commits, reader), Seal()
    hints = Hints(redis_client(settings.queue_url), seal, now=_now)
    monitor = Monitor(
        orders,
        redis_client(settings.queue_url),
        orders_waiting_max=settings.orders_waiting_max,
        now=_now,
    )
    tasks = [asyncio.create_task(monitor.run()), asyncio.create_task(seal.unlock(reader))]
    await asyncio.wait(tasks[1:], timeout=UNLOCK_PATIENCE_S)
    try:
        yield Services(
            orders=orders,
            keys=keys,
            hints=hints,
            stream_tokens=StreamTokens(key_commits),
            monitor=monitor,
            access=_access_policy(settings, keys, limits),
            body_bytes_max=settings.body_bytes_max,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        close_together(hints, key_commits, orders)


def _access_policy(settings: GatewaySettings, keys: ApiKeys, limits: RequestLimits) -> AccessPolicy:
    return AccessPolicy(
        keys=None if settings.is_open else keys,
        is_for_this_machine=settings.is_for_this_machine,
        cors_origins=settings.cors_origins,
        limits=limits,
    )
