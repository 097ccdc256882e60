"""One client's socket: a cursor for each order that it follows, and one task that sends.

No frame is queued for a socket. Feeds tell which orders have news, cursors say from where on, and
what is sent goes into the transport, which takes little before it waits for the client.
"""

import asyncio
import json
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket

from order_engine.execution import metrics
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import ExecutionError, OrderNotFound
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.streams import Close
from order_engine.serving.websocket import WIRE, WebSocketConnection
from order_engine.ws_gateway.feeds import Feed, Feeds
from order_engine.ws_gateway.slow_readers import Progress, Waiting

PING = '{"type":"ping"}'
FRAMES_IN_A_ROW = 64
WORDS_MAX = 200


class TooManySubscriptions(ExecutionError):
    """This socket follows as many orders as one may."""


@dataclass(slots=True)
class Cursor:
    feed: Feed
    after: int  # the seq that the client has


class Socket:
    """`is_multiplexed`: it outlives the orders that it follows, and tells the end of each."""

    def __init__(
        self,
        websocket: WebSocket,
        caller: Caller,
        feeds: Feeds,
        *,
        ping_s: float,
        subscriptions_max: int,
        is_multiplexed: bool,
    ) -> None:
        self.caller = caller
        self.is_multiplexed = is_multiplexed
        self._websocket = websocket
        self._wire: WebSocketConnection = websocket.scope["state"][WIRE]
        self._feeds = feeds
        self._ping_s = ping_s
        self._subscriptions_max = subscriptions_max
        self._cursors: dict[OrderId, Cursor] = {}
        self._joining: dict[OrderId, int | None] = {}  # after; None: given up meanwhile
        self._news: dict[OrderId, None] = {}  # a set that keeps its order
        self._words: deque[str] = deque()
        self._room = asyncio.Event()
        self._woken = asyncio.Event()
        self._ended: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._sending = False
        self._sent = 0
        self._progress = Progress()

    async def run(self, listening: Coroutine[Any, Any, None]) -> Close:
        """Sends until something ends it; the code to close with.

        `listening` reads what the client says, and raises when that has left.
        """
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._send()),
            asyncio.create_task(listening),
        ]
        try:
            await asyncio.wait({self._ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                return self._ended.result()
            sending, heard = tasks
            if heard.done():
                heard.result()  # raises
            code: Close = await sending
            return code
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, code: Close) -> None:
        """Has `run` return this code; the first one counts."""
        if not self._ended.done():
            self._ended.set_result(code)

    async def follow(self, order_id: OrderId, *, after: int) -> None:
        """Sends what comes beyond `after`; where the order is followed already, from there on.

        Raises OrderNotFound for no order of this caller, TooManySubscriptions, and StoreUnavailable
        or Overloaded when the order cannot be read.
        """
        if self.wants(order_id, after=after):
            await self.join(order_id)

    def wants(self, order_id: OrderId, *, after: int) -> bool:
        """The first half of `follow`, done at once; whether it takes a `join` to complete it."""
        if after > 0:
            metrics.RESUMES.inc()
        cursor = self._cursors.get(order_id)
        if cursor is not None:
            cursor.after = after
            self.told(cursor.feed)
            return False
        if order_id in self._joining:
            self._joining[order_id] = after
            return False
        if len(self._cursors) + len(self._joining) >= self._subscriptions_max:
            raise TooManySubscriptions
        self._joining[order_id] = after
        return True

    async def join(self, order_id: OrderId) -> None:
        """The second half of `follow`."""
        try:
            feed = await self._feeds.join(order_id, self)
        finally:
            after = self._joining.pop(order_id)
        if feed.account_id != self.caller.account_id:
            self._feeds.leave(feed, self)
            raise OrderNotFound("no such order")
        if after is None:
            self._feeds.leave(feed, self)
            return
        self._cursors[order_id] = Cursor(feed, after)
        metrics.SUBSCRIPTIONS.inc()
        self.told(feed)

    def unfollow(self, order_id: OrderId) -> None:
        """Sends no more of this order; nothing where it is not followed."""
        if order_id in self._joining:
            self._joining[order_id] = None
        cursor = self._cursors.pop(order_id, None)
        if cursor is not None:
            metrics.SUBSCRIPTIONS.dec()
            self._news.pop(order_id, None)
            self._feeds.leave(cursor.feed, self)

    def leave(self) -> None:
        """Follows nothing any more."""
        for order_id in list(self._cursors):
            self.unfollow(order_id)

    def told(self, feed: Feed) -> None:
        """A feed has grown, or what is to be sent of it."""
        if feed.order_id in self._cursors:
            self._news[feed.order_id] = None
            self._woken.set()

    def say(self, word: dict[str, Any]) -> None:
        """Sends something besides frames."""
        self._words.append(json.dumps(word, separators=(",", ":")))
        self._woken.set()

    async def room(self) -> None:
        """Returns when the client has been sent most of what was said to it."""
        while len(self._words) >= WORDS_MAX:
            self._room.clear()
            await self._room.wait()

    def look(self) -> str | None:
        """The bound that the client has broken by not reading; to be asked every LOOK_EVERY_S."""
        mark = (self._sent, self._wire.unsent_bytes) if self._sending else None
        self._progress = self._progress.at(mark)
        return self._progress.broken_bound(self._waiting) if self._progress.looks else None

    def _waiting(self) -> Waiting:
        texts = [
            text for cursor in self._cursors.values() for text in cursor.feed.frames[cursor.after :]
        ]
        texts.extend(self._words)
        return Waiting(frames=len(texts), size_bytes=sum(map(len, texts)))

    # What the sending task does

    async def _send(self) -> Close:
        while True:
            while self._news or self._words:
                if self._words:
                    await self._give(self._words.popleft())
                    self._room.set()
                if self._news:
                    order_id = next(iter(self._news))
                    del self._news[order_id]
                    await self._send_news(order_id)
            if not self._cursors and not self.is_multiplexed:
                return Close.END
            try:
                async with asyncio.timeout(self._ping_s):
                    await self._woken.wait()
                self._woken.clear()
            except TimeoutError:
                await self._give(PING)

    async def _send_news(self, order_id: OrderId) -> None:
        """Sends what its cursor has not passed; meanwhile that may be moved, or taken away."""
        cursor = self._cursors[order_id]
        feed = cursor.feed
        while cursor.after < feed.last:
            cursor.after += 1
            await self._give(feed.frames[cursor.after - 1])
            metrics.FRAMES_SENT.inc()
            if self._cursors.get(order_id) is not cursor:
                return
        if feed.final:
            self.unfollow(order_id)
            if self.is_multiplexed:
                await self._give(f'{{"type":"end","orderId":"{order_id}"}}')

    async def _give(self, text: str) -> None:
        """Returns when the transport has taken it: at once, or when the client has read more."""
        self._sending = True
        await self._websocket.send_text(text)
        self._sending = False
        self._sent += 1
        if self._sent % FRAMES_IN_A_ROW == 0:
            await asyncio.sleep(0)  # the others' turn
