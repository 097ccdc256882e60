import asyncio
import random
from collections.abc import Callable
from uuid import UUID

import redis
import redis.asyncio
import structlog
from redis.asyncio.client import PubSub

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.channels import CHANNEL_PREFIX, channel

CONFIRM_TIMEOUT_S = 1.0
SILENCE_S = 5.0
RECONNECT_MAX_S = 2.0
# a subscription that exists while there is no client
HEARTBEAT_CHANNEL = "ws-gateway-heartbeat"

log = structlog.get_logger()

OnMessage = Callable[[OrderId, bytes], None]


class Subscriptions:
    """One pub/sub connection for all orders that this process follows; it reconnects by itself.

    While `connected` is False, the position check runs more often and reads events from PostgreSQL.
    """

    def __init__(self, client: redis.asyncio.Redis, on_message: OnMessage) -> None:
        self.connected = False
        self._client = client
        self._on_message = on_message
        self._wanted: dict[str, asyncio.Future[None]] = {}  # done once Redis has confirmed
        self._confirmed: set[str] = set()
        self._wanted_changed = asyncio.Event()
        self._changed = asyncio.Event()

    async def connection_changed(self) -> None:
        """Returns when the connection is next lost or restored."""
        await self._changed.wait()

    async def subscribe(self, order_id: OrderId) -> None:
        """Returns when Redis has confirmed the subscription, or after CONFIRM_TIMEOUT_S; the position
        check then delivers the events.
        """
        name = channel(order_id)
        if name not in self._wanted:
            self._wanted[name] = asyncio.get_running_loop().create_future()
            self._wanted_changed.set()
        if self.connected and name not in self._confirmed:
            await asyncio.wait({self._wanted[name]}, timeout=CONFIRM_TIMEOUT_S)

    def unsubscribe(self, order_id: OrderId) -> None:
        self._wanted.pop(channel(order_id)).cancel()
        self._wanted_changed.set()

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        pause_s = 0.1
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    subscribed = set(self._wanted)
                    await pubsub.subscribe(HEARTBEAT_CHANNEL, *subscribed)
                    self._set_connected(connected=True)
                    pause_s = 0.1
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._listen(pubsub))
                        tasks.create_task(self._sync(pubsub, subscribed))
            except* (redis.RedisError, OSError) as errors:
                log.warning("pub/sub lost", error=str(errors.exceptions[0]))
            except* Exception:
                log.exception("pub/sub failed")
            self._confirmed.clear()
            self._set_connected(connected=False)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    def _set_connected(self, *, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            self._changed.set()
            self._changed = asyncio.Event()

    async def _listen(self, pubsub: PubSub) -> None:
        silent = False
        while True:
            message = await pubsub.get_message(timeout=SILENCE_S)
            if message is None:
                if silent:
                    raise redis.ConnectionError("no answer to a ping")
                silent = True
                await pubsub.ping()
                continue
            silent = False
            name = message["channel"].decode() if message["channel"] else ""
            if message["type"] == "message" and name.startswith(CHANNEL_PREFIX):
                self._on_message(OrderId(UUID(name.removeprefix(CHANNEL_PREFIX))), message["data"])
            elif message["type"] == "subscribe":
                confirmed = self._wanted.get(name)
                if confirmed is not None:  # None when it was left meanwhile
                    self._confirmed.add(name)
                    if not confirmed.done():
                        confirmed.set_result(None)

    async def _sync(self, pubsub: PubSub, subscribed: set[str]) -> None:
        """Subscribes and unsubscribes what has changed, all changes so far in one command."""
        while True:
            new, gone = self._wanted.keys() - subscribed, subscribed - self._wanted.keys()
            if new:
                await pubsub.subscribe(*new)
            if gone:
                self._confirmed -= gone
                await pubsub.unsubscribe(*gone)
            subscribed = (subscribed | new) - gone
            await self._wanted_changed.wait()
            self._wanted_changed.clear()
