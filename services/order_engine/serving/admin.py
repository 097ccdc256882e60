"""The admin port of every process: /metrics, /livez and /readyz."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from order_engine.serving import metrics
from order_engine.serving.server import serving

Check = Callable[[], Awaitable[bool]]

CHECK_TIMEOUT_S = 1.5
LAG_EVERY_S = 0.5


def admin_app(checks: Mapping[str, Check]) -> Starlette:
    """Ready while every check returns True within CHECK_TIMEOUT_S; alive while the event loop runs."""

    async def scrape(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        results = dict(
            zip(checks, await asyncio.gather(*map(_passes, checks.values())), strict=True)
        )
        return JSONResponse(results, status_code=200 if all(results.values()) else 503)

    return Starlette(
        routes=[Route("/metrics", scrape), Route("/livez", livez), Route("/readyz", readyz)]
    )


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except Exception:
        return False


@asynccontextmanager
async def admin_port(checks: Mapping[str, Check], *, host: str, port: int) -> AsyncIterator[None]:
    """Serves the admin port and measures the lag of the event loop while the context is open."""
    metrics.BUILD.info({"version": version("order-execution-engine")})
    measuring = asyncio.create_task(_measure_lag())
    try:
        async with serving(admin_app(checks), host=host, port=port, websockets=False):
            yield
    finally:
        measuring.cancel()


async def _measure_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.LOOP_LAG.observe(max(loop.time() - due, 0))
