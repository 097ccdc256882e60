"""The load client: one process, raw sockets and little work per request, for any engine with the API.

    python -m bench.load post   --url http://127.0.0.1:3000 --connections 16 --seconds 5
    python -m bench.load post   --url http://127.0.0.1:3000 --connections 16 --orders 5000
    python -m bench.load follow --url http://127.0.0.1:3000 --streams ws://127.0.0.1:3001 --orders 750 --rate 50

Each prints one JSON object. `follow` opens a stream for each order once it is accepted, and prints
the frames with the time at which they were read.
"""

import argparse
import asyncio
import gc
import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.stream import Stream

BODY = b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"100","slippageTolerance":0.5}'
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ORDER_ID = re.compile(rb'"orderId": *"([^"]+)"')
WARM_UP_S = 1.0
FOLLOW_TIMEOUT_S = 60.0
FINAL = {"confirmed", "failed"}


class Poster(asyncio.Protocol):
    """One kept connection with at most one request under way; `on_answer` gets each order id."""

    def __init__(self, host: str, on_answer: Callable[["Poster", str, float], None]) -> None:
        head = f"POST /api/orders/execute HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self._on_answer = on_answer
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent_at:
            raise SystemExit(f"the engine closed a connection: {exc}")

    def post(self) -> None:
        self._sent_at = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        length = LENGTH.search(self._buffer, 0, end) if end > 0 else None
        if length is None or len(self._buffer) < end + 4 + int(length[1]):
            return
        answer, self._buffer = self._buffer, b""
        order_id = ORDER_ID.search(answer, end)
        if not answer.startswith(b"HTTP/1.1 201") or order_id is None:
            raise SystemExit(f"an order was refused: {answer.decode()}")
        took_s, self._sent_at = time.perf_counter() - self._sent_at, 0.0
        self._on_answer(self, order_id[1].decode(), took_s)


def endpoint(url: str) -> tuple[str, int]:
    address = urlsplit(url)
    return address.hostname or "", address.port or 0


async def connect(url: str, on_answer: Callable[[Poster, str, float], None]) -> Poster:
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, poster = await loop.create_connection(
        lambda: Poster(address.netloc, on_answer), *endpoint(url)
    )
    return poster


async def post(url: str, *, connections: int, seconds: float, orders: int) -> dict[str, Any]:
    """Posts as fast as the connections go: for `seconds` after a warm-up, or `orders` orders."""
    done = asyncio.Event()
    state = {"left": orders, "open": connections, "counts": bool(orders)}
    took: list[float] = []

    def on_answer(poster: Poster, order_id: str, took_s: float) -> None:
        if state["counts"]:
            took.append(took_s)
        if state["left"] != 0:
            state["left"] -= 1
            poster.post()
            return
        state["open"] -= 1
        if state["open"] == 0:
            done.set()

    posters = [await connect(url, on_answer) for _ in range(connections)]
    gc.disable()
    if orders:
        state["left"] = max(orders - connections, 0)
    else:
        state["left"] = -1
    for poster in posters[: orders or connections]:
        poster.post()
    if orders:
        state["open"] = min(orders, connections)
        began = time.perf_counter()
    else:
        await asyncio.sleep(WARM_UP_S)
        print("measuring", flush=True)
        state["counts"], began = True, time.perf_counter()
        await asyncio.sleep(seconds)
        lasted, state["counts"], state["left"] = time.perf_counter() - began, False, 0
        print("measured", flush=True)
    await done.wait()
    if orders:
        lasted = time.perf_counter() - began
    return {"seconds": lasted, "orders": len(took), "ms": [round(s * 1000, 3) for s in took]}


@dataclass(slots=True, kw_only=True)
class Followed:
    order_id: str
    opened_at: float = 0.0
    frames: list[tuple[float, int, str]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FollowedStream(Stream):
    """Notes the statuses of one order, with the time at which each was read."""

    def __init__(self, host: str, followed: Followed) -> None:
        super().__init__(host, f"/api/orders/{followed.order_id}/stream")
        self._followed = followed
        self._now = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        self._followed.ended.set()

    def data_received(self, data: bytes) -> None:
        self._now = time.time()
        super().data_received(data)

    def opened(self) -> None:
        self._followed.opened_at = self._now

    def text_received(self, payload: bytes) -> None:
        message = json.loads(payload)
        status = message.get("status")
        if not isinstance(status, str):
            return
        if not message.get("snapshot"):  # of the peer; final when the order ended before
            self._followed.frames.append((self._now, message.get("seq", 0), status.lower()))
        if status.lower() in FINAL:
            self._followed.ended.set()


async def follow(url: str, streams: str, *, orders: int, rate: float) -> dict[str, Any]:
    """Posts `rate` orders a second, and follows each from the moment that it is accepted."""
    loop, address = asyncio.get_running_loop(), urlsplit(streams)
    followed: list[Followed] = []
    opening: list[asyncio.Task[Any]] = []
    free: deque[Poster] = deque()

    def on_answer(poster: Poster, order_id: str, took_s: float) -> None:
        free.append(poster)
        one = Followed(order_id=order_id)
        followed.append(one)
        stream = loop.create_connection(
            lambda: FollowedStream(address.netloc, one), *endpoint(streams)
        )
        opening.append(loop.create_task(stream))

    began = time.perf_counter()
    for number in range(orders):
        await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0))
        poster = free.popleft() if free else await connect(url, on_answer)
        poster.post()
    try:
        async with asyncio.timeout(FOLLOW_TIMEOUT_S):
            while len(followed) < orders:
                await asyncio.sleep(0.05)
            await asyncio.gather(*opening)
            await asyncio.gather(*(one.ended.wait() for one in followed))
    except TimeoutError:
        ended = sum(one.ended.is_set() for one in followed)
        raise SystemExit(
            f"only {ended} of {orders} streams ended in {FOLLOW_TIMEOUT_S:g} s"
        ) from None
    return {
        "orders": [
            {"id": one.order_id, "opened_at": one.opened_at, "frames": one.frames}
            for one in followed
        ]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["post", "follow"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--streams", default="")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--orders", type=int, default=0)
    parser.add_argument("--rate", type=float, default=50.0)
    given = parser.parse_args()
    if given.what == "post":
        work = post(
            given.url, connections=given.connections, seconds=given.seconds, orders=given.orders
        )
    else:
        work = follow(given.url, given.streams, orders=given.orders, rate=given.rate)
    json.dump(asyncio.run(work), sys.stdout)


if __name__ == "__main__":
    main()
