from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from order_engine.local.web import web_app


async def answer(request: Request) -> Response:
    return PlainTextResponse(request.app.state.name)


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.app.state.name)
    await websocket.close()


def an_app(name: str, log: list[str]) -> Starlette:
    """An application that answers with its name, by HTTP and by WebSocket."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.name = name
        log.append(f"{name} opens")
        yield
        log.append(f"{name} closes")

    return Starlette(
        routes=[Route("/orders", answer), WebSocketRoute("/orders", greet)], lifespan=lifespan
    )


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def client(log: list[str]) -> TestClient:
    return TestClient(web_app(an_app("gateway", log), an_app("streams", log)))


def test_requests_go_to_the_gateway(client: TestClient) -> None:
    with client:
        assert client.get("/orders").text == "gateway"


def test_websockets_go_to_the_streams(client: TestClient) -> None:
    with client, client.websocket_connect("/orders") as websocket:
        assert websocket.receive_text() == "streams"


def test_both_lifespans_run(client: TestClient, log: list[str]) -> None:
    with client:
        opened = list(log)

    assert opened == ["gateway opens", "streams opens"]
    assert log[2:] == ["streams closes", "gateway closes"]
