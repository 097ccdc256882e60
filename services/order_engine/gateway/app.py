"""The HTTP door: its routes, what each asks of the caller, and what they work with."""

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
from order_engine.execution.domain.accounts import Scope
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
from order_engine.gateway.contract.openapi import openapi
from order_engine.gateway.contract.problems import (
    answer_execution_error,
    answer_http_error,
    answer_nobody,
    answer_unexpected,
)
from order_engine.gateway.endpoints.keys import issue_stream_token, list_keys, make_key, revoke_key
from order_engine.gateway.endpoints.orders import (
    cancel,
    execute,
    get_events,
    get_order,
    list_orders,
)
from order_engine.gateway.middleware.access import admitted
from order_engine.gateway.middleware.cors import Cors
from order_engine.gateway.middleware.metrics import Measured
from order_engine.gateway.middleware.rate_limits import Limited, RequestLimits
from order_engine.gateway.monitor import Watch
from order_engine.serving.health import health_response

NAME = "gateway"
UNLOCK_PATIENCE_S = 1.0  # frames are late, and no more, while the seal is locked


async def only_post(request: Request) -> Response:
    """Without it a GET would look for an order whose id is `execute`."""
    raise HTTPException(405, headers={"Allow": "POST"})


async def keys(request: Request) -> Response:
    """One route for both methods, so that a 405 names them all."""
    endpoint = make_key if request.method == "POST" else list_keys
    return await admitted(Scope.ADMIN, endpoint)(request)


async def health(_: Request) -> Response:
    return health_response(timestamp(datetime.now(UTC)))


ROUTES = [
    Route("/health", health),
    Route("/openapi.json", openapi),
    Route("/asyncapi.json", asyncapi),
    Route("/api/orders", admitted(Scope.READ, list_orders)),
    Route("/api/orders/execute", admitted(Scope.TRADE, execute), methods=["POST"]),
    Route("/api/orders/execute", only_post),
    Route("/api/orders/{order_id}", admitted(Scope.READ, get_order)),
    Route("/api/orders/{order_id}/events", admitted(Scope.READ, get_events)),
    Route("/api/orders/{order_id}/cancel", admitted(Scope.TRADE, cancel), methods=["POST"]),
    Route("/api/stream-tokens", admitted(Scope.READ, issue_stream_token), methods=["POST"]),
    Route("/api/keys", keys, methods=["GET", "POST"]),
    Route("/api/keys/{key_id}", admitted(Scope.ADMIN, revoke_key), methods=["DELETE"]),
]


def gateway_app(settings: GatewaySettings) -> Starlette:
    """The ASGI application; its lifespan opens and closes what it works with."""
    limits = RequestLimits(
        per_address=settings.http_rate_limit_per_address, per_key=settings.http_rate_limit_per_key
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        commits = GroupCommit(settings.database_url, application_name=NAME)
        looks = GroupCommit(settings.database_url, application_name=f"{NAME}-keys")
        reader = Reader(
            settings.database_url,
            application_name=NAME,
            connections_max=settings.database_connections_max,
        )
        seal = Seal()
        hints = Hints(redis_client(settings.queue_url), seal, now=lambda: datetime.now(UTC))
        orders = Orders(commits, reader, claimer=NAME)
        known_keys = ApiKeys(looks, reader)
        watch = Watch(
            orders,
            redis_client(settings.queue_url),
            orders_waiting_max=settings.orders_waiting_max,
            now=lambda: datetime.now(UTC),
        )
        app.state.orders = orders
        app.state.keys = known_keys
        app.state.stream_tokens = StreamTokens(looks)
        app.state.keys_asked_for = None if settings.is_open else known_keys
        app.state.is_for_this_machine = settings.is_for_this_machine
        app.state.cors_origins = settings.cors_origins
        app.state.limits = limits
        app.state.hints = hints
        app.state.watch = watch
        app.state.body_bytes_max = settings.body_bytes_max
        tasks = [asyncio.create_task(watch.run()), asyncio.create_task(seal.unlock(reader))]
        await asyncio.wait(tasks[1:], timeout=UNLOCK_PATIENCE_S)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        close_together(hints, looks, orders)

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[
            Middleware(Measured),
            # outside of the limits, so that a page may read that it is beyond them
            Middleware(Cors, limits=limits, origins=settings.cors_origins),
            Middleware(Limited, limits=limits),
        ],
        exception_handlers={
            ExecutionError: answer_execution_error,
            HTTPException: answer_http_error,
            ClientDisconnect: answer_nobody,
            Exception: answer_unexpected,
        },
    )
    app.router.redirect_slashes = False  # another path, and so a problem like any unknown one
    return app
