"""The one layer around the routes: limits, counts and times each request, and answers its errors."""

import asyncio
import time
from collections.abc import Sequence
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from order_engine.execution import metrics
from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.gateway.contract.problems import PROBLEMS, answer_error, problem
from order_engine.gateway.middleware.cors import Cors
from order_engine.gateway.middleware.rate_limits import Quota, RequestLimits, quota_headers
from order_engine.serving.addresses import client_network

METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS"})


class Exchange:
    """A request and its answer; the routes send through it, and find it as `scope["exchange"]`."""

    __slots__ = ("_send", "code", "has_started", "quotas")

    def __init__(self, send: Send) -> None:
        self.code = 500
        self.has_started = False
        self.quotas: list[Quota] = []
        self._send = send

    async def send(self, message: Message) -> None:
        """Notes the status, and reports what is left of the limits."""
        if message["type"] == "http.response.start":
            self.code, self.has_started = message["status"], True
            if self.quotas:
                headers = [*message.get("headers", ()), *quota_headers(self.quotas)]
                message = {**message, "headers": headers}
        await self._send(message)


class Edge:
    """Counts each request against the limit of its address before any other work.

    Requests are counted and timed by route, not by path: a path holds ids.
    """

    def __init__(self, app: ASGIApp, *, limits: RequestLimits, origins: Sequence[str]) -> None:
        self._app = app
        self._limits = limits
        self._answer = self._limited(app)
        # outside of the limit, so that pages of allowed origins can read a 429
        self._answer_page = Cors(self._answer, limited=self._limited, origins=origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        exchange = scope["exchange"] = Exchange(send)
        is_page = any(name == b"origin" for name, _ in scope["headers"])
        try:
            await (self._answer_page if is_page else self._answer)(scope, receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.has_started:
                raise
            # the server stops: whether the request took effect is unknown
            away = PROBLEMS[StoreUnavailable]
            await problem(away, detail=away.title)(scope, receive, exchange.send)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            _count(route, method, exchange.code).inc()
            _seconds(route).observe(time.perf_counter() - began)

    def _limited(self, app: ASGIApp) -> ASGIApp:
        """`app` within the limit of each address, and with answers to its errors."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            exchange: Exchange = scope["exchange"]
            address = client_network(scope["client"][0]) if scope.get("client") else ""
            try:
                self._limits.take("address", address, exchange.quotas)
                await app(scope, receive, send)
            except Exception as error:
                if exchange.has_started:
                    raise
                response = answer_error(error)
                await response(scope, receive, send)

        return answer


@cache
def _count(route: str, method: str, code: int) -> Counter:
    return metrics.HTTP_REQUESTS.labels(route=route, method=method, code=code)


@cache
def _seconds(route: str) -> Histogram:
    return metrics.HTTP_SECONDS.labels(route=route)
