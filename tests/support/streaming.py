"""Ws-gateways as clients meet them, and what a test does with one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import redis
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.publisher import Publisher, channel
from order_engine.execution.messages.seals import Seal
from order_engine.execution.settings import WsGatewaySettings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.ws_gateway.app import ws_gateway_app
from order_engine.ws_gateway.subscriptions import HEARTBEAT_CHANNEL
from support.evidence import rows
from support.serving import running
from support.waiting import wait_until

WITHIN_S = 60
NEVER_S = 3600.0  # between two position checks: only pub/sub brings news in time
OFTEN_S = 0.2
UNKNOWN = "019c0000-0000-7000-8000-00000000dead"


class Announcer:
    """Seals and publishes what a dispatcher would."""

    def __init__(self, publisher: Publisher, seal: Seal) -> None:
        self.seal = seal
        self._publisher = publisher

    async def announce(self, *events: OrderEvent) -> None:
        for event in events:
            text = json.dumps(frame(event), separators=(",", ":"))
            await self._publisher.publish(str(event.order_id), self.seal.close(text))

    async def everything_was_heard(self, order_id: OrderId) -> None:
        """Returns once a follower of the order has all that was published before: it counts this."""
        before = dropped("unreadable")
        await self._publisher.publish(str(order_id), self.seal.close("a marker"))
        await until(lambda: dropped("unreadable") > before)


def the_seal(database_url: str) -> Seal:
    [row] = rows(database_url, "SELECT secret FROM frame_seals")
    return Seal(bytes(row["secret"]))


@contextmanager
def unsubscribed(
    database_url: str, redis_url: str, **settings: Any
) -> Iterator[tuple[str, Starlette]]:
    """A ws-gateway that runs while the context is open, whatever the stores do; and its address."""
    given = WsGatewaySettings(
        _env_file=None, database_url=database_url, redis_url=redis_url, **settings
    )
    app = ws_gateway_app(given)
    with running(app) as address:
        yield address, app


@contextmanager
def streaming(database_url: str, redis_url: str, **settings: Any) -> Iterator[str]:
    """The address of one that Redis brings news to, and that can tell ours from others'."""
    with redis_client(redis_url) as client:
        before = subscribers(client, HEARTBEAT_CHANNEL)
        with unsubscribed(database_url, redis_url, **settings) as (address, app):
            wait_until(lambda: subscribers(client, HEARTBEAT_CHANNEL) > before, timeout_s=10)
            wait_until(lambda: is_unlocked(app.state.services.seal), timeout_s=10)
            yield address


@asynccontextmanager
async def beside(context: AbstractContextManager[str]) -> AsyncIterator[str]:
    """What takes its time to enter and leave, while this event loop goes on."""
    with ExitStack() as stack:
        value = await asyncio.to_thread(stack.enter_context, context)
        try:
            yield value
        finally:
            await asyncio.to_thread(stack.close)


def is_unlocked(seal: Seal) -> bool:
    return seal.open(seal.close("").encode()) is not None


def run(work: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(WITHIN_S):
            await work

    asyncio.run(in_time())


def a_socket(address: str, order_id: object, query: str = "", **options: Any) -> connect:
    return connect(f"ws://{address}/api/orders/{order_id}/stream{query}", proxy=None, **options)


def a_multiplexed_socket(address: str, query: str = "", **options: Any) -> connect:
    return connect(f"ws://{address}/api/stream{query}", proxy=None, **options)


async def ask(socket: ClientConnection, op: str, order_id: object, **fields: Any) -> None:
    await socket.send(json.dumps({"op": op, "orderId": str(order_id), **fields}))


async def next_frames(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await socket.recv()) for _ in range(count)]


async def next_seqs(socket: ClientConnection, count: int) -> list[int]:
    return [each["seq"] for each in await next_frames(socket, count)]


async def to_the_end(socket: ClientConnection) -> tuple[list[int], int | None]:
    """The seqs of all frames that still come, and the code by which the other side closes."""
    seqs = []
    try:
        while True:
            seqs.append(json.loads(await socket.recv())["seq"])
    except ConnectionClosed:
        return seqs, socket.close_code


async def close_code(opening: connect) -> int | None:
    """The code by which the other side closes a socket that gets no frame."""
    async with opening as socket:
        seqs, code = await to_the_end(socket)
        assert seqs == []
        return code


async def until(fact: Callable[[], object], *, timeout_s: float = 20) -> None:
    await asyncio.to_thread(wait_until, fact, timeout_s=timeout_s)


def subscribers(client: redis.Redis, name: str) -> int:
    """How many connections are subscribed to a channel; none while Redis is away."""
    [(_, count)] = client.pubsub_numsub(name)
    return int(count)


def is_followed(client: redis.Redis, order_id: OrderId) -> bool:
    return subscribers(client, channel(order_id)) > 0


def samples(name: str, **labels: str) -> float:
    """The value of one sample of this process; 0 when there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def dropped(reason: str) -> float:
    return samples("order_engine_ws_events_dropped_total", reason=reason)


def seqs_of(frames: Sequence[dict[str, Any]]) -> list[int]:
    return [each["seq"] for each in frames]
