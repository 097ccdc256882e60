import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from order_engine.gateway.middleware.edge import Edge
from order_engine.gateway.middleware.rate_limits import RequestLimits

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": []}
START: Message = {"type": "http.response.start", "status": 201, "headers": []}


def edge(app: ASGIApp) -> Edge:
    return Edge(app, limits=RequestLimits(per_address=0, per_key=0), origins=())


async def cancelled(app: ASGIApp) -> list[Message]:
    """What is sent for a request that the server cancels."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    request = asyncio.create_task(edge(app)(dict(SCOPE), receive, send))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait({request}, timeout=5)
    return sent


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def has_started(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await asyncio.Event().wait()


def answers(code: int) -> float:
    labels: dict[str, Any] = {"route": "none", "method": "POST", "code": str(code)}
    return REGISTRY.get_sample_value("order_engine_http_requests_total", labels) or 0.0


def test_a_request_that_is_cancelled_by_the_stop_is_answered_503() -> None:
    before = answers(503)

    start, *_ = asyncio.run(cancelled(waits))

    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert answers(503) == before + 1


def test_a_response_that_has_started_is_not_started_again() -> None:
    assert asyncio.run(cancelled(has_started)) == [START]


def test_a_response_is_counted_by_its_status() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)

    async def work() -> None:
        async def nothing() -> Message:
            return {}

        async def send(_: Message) -> None:
            pass

        await edge(app)(dict(SCOPE), nothing, send)

    before = answers(201)
    asyncio.run(work())

    assert answers(201) == before + 1


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_only_http_requests_are_counted(kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing() -> Message:
        return {}

    async def send(_: Message) -> None:
        pass

    asyncio.run(edge(app)({"type": kind}, nothing, send))

    assert seen == [kind]
