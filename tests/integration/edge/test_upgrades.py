"""Programs that offer another protocol with their requests, directly and behind docker/nginx.conf."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.edge import Engine
from support.raw_http import Answer, answers_to
from support.streaming import UNKNOWN

PROGRAM = Path(__file__).with_name("Upgrades.java")
JAVA_TIMEOUT_S = 100
BODY = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"100","slippageTolerance":0.5}'
STREAM = f"/api/orders/{UNKNOWN}/stream"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def ask(address: str, head: str, body: str = "") -> Answer:
    [answer] = asyncio.run(answers_to(address, f"{head}Host: {address}\r\n\r\n{body}".encode()))
    return answer


def test_the_http_client_of_java_is_answered_as_it_comes(engine: Engine) -> None:
    if shutil.which("javac") is None and "CI" not in os.environ:  # noqa: TID251 - of the test
        pytest.skip("no javac: install a JDK, such as Debian's default-jdk-headless")

    ran = subprocess.run(
        ["java", str(PROGRAM), f"http://{engine.api}", f"http://{engine.streams}"],
        capture_output=True,
        text=True,
        timeout=JAVA_TIMEOUT_S,
        check=False,
    )

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "GET /health 200",
        "POST /api/orders/execute 201",
        "POST /api/orders/execute 201",
        "DELETE /api/keys/0 404",
        "GET /api/stream 426",
        "POST /api/orders/execute 201",
        "POST /api/orders/execute 201",
        "POST /api/orders/execute 201",
        "WebSocket 4404",
    ]


@pytest.mark.parametrize("offer", ["h2c", "H2C", "websocket", "WebSocket", "h2c, websocket", "x/1"])
@pytest.mark.parametrize(
    "connection", ["Upgrade", "keep-alive, Upgrade", "Upgrade, HTTP2-Settings"]
)
def test_an_order_is_placed_whatever_is_offered_with_it(
    engine: Engine, offer: str, connection: str
) -> None:
    head = f"POST /api/orders/execute HTTP/1.1\r\nConnection: {connection}\r\nUpgrade: {offer}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"

    assert ask(engine.api, head, BODY).status == 201


@pytest.mark.parametrize("offer", ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket"])
def test_a_stream_is_opened_however_the_client_writes_websocket(engine: Engine, offer: str) -> None:
    head = f"GET {STREAM} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {offer}\r\n{KEY}"

    assert ask(engine.streams, head).status == 101


PLAIN = {
    "nothing offered": "",
    "h2c": "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "no option Upgrade": "X: y\r\n",
    "keep-alive": "Connection: keep-alive\r\n",
}


@pytest.mark.parametrize("path", ["/api/stream", f"{STREAM}?after=1"])
@pytest.mark.parametrize("lines", PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_request_for_a_stream_is_answered_with_426(
    engine: Engine, path: str, lines: str
) -> None:
    answer = ask(engine.streams, f"GET {path} HTTP/1.1\r\n{lines}")

    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "connect to it with ws:// or wss://" in answer.body


@pytest.mark.parametrize("path", ["/api/stream", STREAM])
@pytest.mark.parametrize("lines", ["", f"Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"])
def test_the_gateway_answers_a_stream_that_was_sent_to_it_with_426(
    direct: Engine, path: str, lines: str
) -> None:
    answer = ask(direct.api, f"GET {path} HTTP/1.1\r\n{lines}")

    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert "a proxy in between must pass the Upgrade header on" in answer.body


def test_the_gateway_answers_a_request_that_offers_websocket(direct: Engine) -> None:
    offer = f"Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"

    assert ask(direct.api, f"GET /health HTTP/1.1\r\n{offer}").status == 200
