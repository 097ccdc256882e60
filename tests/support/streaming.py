"""Runs ws-gateways and connects clients to them."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import redis
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.frames import frame_text
from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.messages.seals import Seal
from order_engine.execution.settings import WsGatewaySettings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.ws_gateway.app import ws_gateway_app
from order_engine.ws_gateway.subscriptions import HEARTBEAT_CHANNEL
from support.evidence import rows
from support.gateways import bearer_header
from support.serving import running
from support.waiting import wait_until

WITHIN_S = 60
# Seconds between two position checks.
NEVER_S = 3600.0  # later than any test ends: events arrive only through pub/sub
OFTEN_S = 0.2
UNKNOWN = "019c0000-0000-7000-8000-00000000dead"


class Announcer:
    """Seals and publishes frames as a dispatcher does."""

    def __init__(self, publisher: Publisher, seal: Seal) -> None:
        self.seal = seal
        self._publisher = publisher
        self._lock = threading.Lock()  # a publisher is for one thread at a time

    async def announce(self, *events: OrderEvent) -> None:
        for event in events:
            await self._publish(event.order_id, self.seal.close(frame_text(event)))

    async def wait_until_received(self, order_id: OrderId) -> None:
        """Returns when the ws-gateway has received every earlier message about the order.

        Publishes one more that cannot be read, and waits until the ws-gateway has counted it.
        """
        before = dropped_events("unreadable")
        await self._publish(order_id, self.seal.close("a marker"))
        await until(lambda: dropped_events("unreadable") > before)

    async def _publish(self, order_id: OrderId, message: str) -> None:
        await asyncio.to_thread(self._publish_alone, order_id, message)

    def _publish_alone(self, order_id: OrderId, message: str) -> None:
        with self._lock:
            self._publisher.publish([(str(order_id), message)])


def read_seal(database_url: str) -> Seal:
    [row] = rows(database_url, "SELECT secret FROM frame_seals")
    return Seal(bytes(row["secret"]))


@contextmanager
def running_ws_gateway(
    database_url: str, redis_url: str, **settings: Any
) -> Iterator[tuple[str, Starlette]]:
    """Runs a ws-gateway without waiting for its stores; yields `host:port` and the application."""
    gateway_settings = WsGatewaySettings(
        _env_file=None, database_url=database_url, redis_url=redis_url, **settings
    )
    app = ws_gateway_app(gateway_settings)
    with running(app) as address:
        yield address, app


@contextmanager
def subscribed_ws_gateway(database_url: str, redis_url: str, **settings: Any) -> Iterator[str]:
    """Runs a ws-gateway that is subscribed in Redis and has read the seal; yields `host:port`."""
    with redis_client(redis_url) as client:
        before = subscriber_count(client, HEARTBEAT_CHANNEL)
        with running_ws_gateway(database_url, redis_url, **settings) as (address, app):
            wait_until(lambda: subscriber_count(client, HEARTBEAT_CHANNEL) > before, timeout_s=10)
            wait_until(lambda: is_unlocked(app.state.services.seal), timeout_s=10)
            yield address


@asynccontextmanager
async def entered_in_thread(context: AbstractContextManager[str]) -> AsyncIterator[str]:
    """Enters and leaves a blocking context in a thread, so that the event loop keeps running."""
    with ExitStack() as stack:
        value = await asyncio.to_thread(stack.enter_context, context)
        try:
            yield value
        finally:
            await asyncio.to_thread(stack.close)


def is_unlocked(seal: Seal) -> bool:
    return seal.open(seal.close("").encode()) is not None


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WITHIN_S):
            await work

    asyncio.run(bounded())


def open_socket(address: str, order_id: object, query: str = "", **options: Any) -> connect:
    return connect(f"ws://{address}/api/orders/{order_id}/stream{query}", proxy=None, **options)


def open_multiplexed_socket(address: str, query: str = "", **options: Any) -> connect:
    return connect(f"ws://{address}/api/stream{query}", proxy=None, **options)


def open_unknown_order(address: str, query: str = "", **options: Any) -> connect:
    """A socket that an admitted client gets closed with 4404."""
    return open_socket(address, UNKNOWN, query, **options)


def with_key(key: str) -> dict[str, Any]:
    """The options that open a socket with an API key."""
    return {"additional_headers": bearer_header(key)}


async def create_key(keys: ApiKeys, account_id: AccountId = LOCAL_ACCOUNT, *scopes: Scope) -> str:
    """The secret of a new API key, with the scope `read` unless `scopes` are given."""
    _, secret = await keys.make(account_id, scopes or {Scope.READ})
    return secret


async def send_command(socket: ClientConnection, op: str, order_id: object, **fields: Any) -> None:
    await socket.send(json.dumps({"op": op, "orderId": str(order_id), **fields}))


async def next_messages(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await socket.recv()) for _ in range(count)]


async def next_seqs(socket: ClientConnection, count: int) -> list[int]:
    return [each["seq"] for each in await next_messages(socket, count)]


async def read_to_close(socket: ClientConnection) -> tuple[list[int], int | None]:
    """The seqs of the remaining frames, and the code that the server closes with."""
    seqs = []
    try:
        while True:
            seqs.append(json.loads(await socket.recv())["seq"])
    except ConnectionClosed:
        return seqs, socket.close_code


async def close_code(connection: connect) -> int | None:
    """The code that the server closes a socket with; it must not send a frame first."""
    async with connection as socket:
        seqs, code = await read_to_close(socket)
        assert seqs == []
        return code


async def until(fact: Callable[[], object], *, timeout_s: float = 20) -> None:
    """`wait_until` in a thread, so that the event loop keeps running."""
    await asyncio.to_thread(wait_until, fact, timeout_s=timeout_s)


def subscriber_count(client: redis.Redis, name: str) -> int:
    """How many connections are subscribed to a channel."""
    [(_, count)] = client.pubsub_numsub(name)
    return int(count)


def is_followed(client: redis.Redis, order_id: OrderId) -> bool:
    return subscriber_count(client, channel(order_id)) > 0


def metric_value(name: str, **labels: str) -> float:
    """The value of a metric of this process; 0 when it does not exist yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def dropped_events(reason: str) -> float:
    return metric_value("order_engine_ws_events_dropped_total", reason=reason)
