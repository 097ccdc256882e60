import asyncio
import random
from collections.abc import Callable
from uuid import UUID

import redis
import redis.asyncio
import structlog
from redis.asyncio.client import PubSub

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.pubsub import CHANNEL_PREFIX, channel

CONFIRM_TIMEOUT_S = 1.0
SILENCE_S = 5.0
RECONNECT_MAX_S = 2.0
# keeps the connection subscribed to something while no client is there
HEARTBEAT_CHANNEL = "ws-gateway-heartbeat"

log = structlog.get_logger()

OnMessage = Callable[[OrderId, bytes], None]


class Subscriptions:
    """One pub/sub connection for all orders followed here; it comes back by itself.

    While it is away nothing is lost but time: `connected` is False and the position check, run more
    often, reads events from PostgreSQL.
    """

    def __init__(self, client: redis.asyncio.Redis, on_message: OnMessage) -> None:
        self.connected = False
        self._client = client
        self._on_message = on_message
        self._wanted: dict[str, asyncio.Future[None]] = {}  # done once Redis has confirmed
        self._confirmed: set[str] = set()
        self._news = asyncio.Event()
        self._turned = asyncio.Event()

    async def turned(self) -> None:
        """Returns when the connection is next lost, or back."""
        await self._turned.wait()

    async def subscribe(self, order_id: OrderId) -> None:
        """Returns once Redis has confirmed, or after a second without: delivery then falls to the
        position check.
        """
        name = channel(order_id)
        if name not in self._wanted:
            self._wanted[name] = asyncio.get_running_loop().create_future()
            self._news.set()
        if self.connected and name not in self._confirmed:
            await asyncio.wait({self._wanted[name]}, timeout=CONFIRM_TIMEOUT_S)

    def unsubscribe(self, order_id: OrderId) -> None:
        self._wanted.pop(channel(order_id)).cancel()
        self._news.set()

    async def run(self) -> None:
        """Keeps the connection, for ever."""
        pause_s = 0.1
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    told = set(self._wanted)
                    await pubsub.subscribe(HEARTBEAT_CHANNEL, *told)
                    self._turn(connected=True)
                    pause_s = 0.1
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._listen(pubsub))
                        tasks.create_task(self._tell(pubsub, told))
            except* (redis.RedisError, OSError) as errors:
                log.warning("pub/sub lost", error=str(errors.exceptions[0]))
            except* Exception:
                log.exception("pub/sub failed")
            self._confirmed.clear()
            self._turn(connected=False)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    def _turn(self, *, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            self._turned.set()
            self._turned = asyncio.Event()

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
                if confirmed is not None:  # else it has been left meanwhile
                    self._confirmed.add(name)
                    if not confirmed.done():
                        confirmed.set_result(None)

    async def _tell(self, pubsub: PubSub, told: set[str]) -> None:
        """Tells Redis what has changed since: all news of one moment in one command."""
        while True:
            new, gone = self._wanted.keys() - told, told - self._wanted.keys()
            if new:
                await pubsub.subscribe(*new)
            if gone:
                self._confirmed -= gone
                await pubsub.unsubscribe(*gone)
            told = (told | new) - gone
            await self._news.wait()
            self._news.clear()
