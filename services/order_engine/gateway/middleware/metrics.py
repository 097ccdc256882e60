import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from order_engine.execution import metrics
from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.gateway.contract.problems import PROBLEMS, problem


class RequestMetrics:
    """Counts and times requests by route, not by path: a path holds ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at, code, has_started = time.perf_counter(), 500, False

        async def send_noting_code(message: Message) -> None:
            nonlocal code, has_started
            if message["type"] == "http.response.start":
                code, has_started = message["status"], True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_code)
        except asyncio.CancelledError:
            if has_started:
                raise
            # the server stops: whether the request took effect is unknown
            away = PROBLEMS[StoreUnavailable]
            await problem(away, detail=away.title)(scope, receive, send_noting_code)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics.HTTP_REQUESTS.labels(route=route, method=_method(scope), code=code).inc()
            metrics.HTTP_SECONDS.labels(route=route).observe(time.perf_counter() - started_at)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in {"GET", "POST", "DELETE", "HEAD", "OPTIONS"} else "other"
