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


def an_app(name: str) -> Starlette:
    """An application that answers with its name, by HTTP and by WebSocket."""
    app = Starlette(routes=[Route("/orders", answer), WebSocketRoute("/orders", greet)])
    app.state.name = name
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(web_app(an_app("gateway"), an_app("streams")))


def test_requests_go_to_the_gateway(client: TestClient) -> None:
    assert client.get("/orders").text == "gateway"


def test_websockets_go_to_the_streams(client: TestClient) -> None:
    with client.websocket_connect("/orders") as websocket:
        assert websocket.receive_text() == "streams"
