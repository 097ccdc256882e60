"""One client's socket: a cursor for each order that it follows, and one task that sends.

Frames are not queued for a socket. Feeds notify it of orders that grew, its cursors say what to
send next, and the transport takes little before it waits for the client.
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
from order_engine.execution.messages.stream_contract import Close
from order_engine.serving.websocket import WIRE, WebSocketConnection
from order_engine.ws_gateway.feeds import Feed, Feeds
from order_engine.ws_gateway.slow_readers import Progress, Waiting

PING = '{"type":"ping"}'
FRAMES_IN_A_ROW = 64
MESSAGES_MAX = 200


class TooManySubscriptions(ExecutionError):
    """The socket follows as many orders as it may."""


@dataclass(slots=True)
class Cursor:
    feed: Feed
    after: int  # the last seq that the client has


class Socket:
    """When `is_multiplexed`, the socket stays open after its orders end, and sends the end of each."""

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
        self._starting: dict[OrderId, int | None] = {}  # after; None: unfollowed meanwhile
        self._grown: dict[OrderId, None] = {}  # an ordered set
        self._messages: deque[str] = deque()
        self._capacity = asyncio.Event()
        self._woken = asyncio.Event()
        self._ended: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._sending = False
        self._sent = 0
        self._progress = Progress()

    async def run(self, listening: Coroutine[Any, Any, None]) -> Close:
        """Sends until the socket ends; returns the code to close it with.

        `listening` reads what the client sends, and raises when the client disconnects.
        """
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._send()),
            asyncio.create_task(listening),
        ]
        try:
            await asyncio.wait({self._ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                return self._ended.result()
            sending, listened = tasks
            if listened.done():
                listened.result()  # raises
            code: Close = await sending
            return code
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, code: Close) -> None:
        """Makes `run` return this code; the first call counts."""
        if not self._ended.done():
            self._ended.set_result(code)

    async def follow(self, order_id: OrderId, *, after: int) -> None:
        """Sends the events after `after`; restarts there when the order is followed already.

        Raises OrderNotFound when the caller has no such order, TooManySubscriptions, and
        StoreUnavailable or Overloaded when the order cannot be read.
        """
        if self.begin_follow(order_id, after=after):
            await self.finish_follow(order_id)

    def begin_follow(self, order_id: OrderId, *, after: int) -> bool:
        """Starts to follow, without waiting. When it returns True, `finish_follow` must be called."""
        if after > 0:
            metrics.RESUMES.inc()
        cursor = self._cursors.get(order_id)
        if cursor is not None:
            cursor.after = after
            self.feed_grew(cursor.feed)
            return False
        if order_id in self._starting:
            self._starting[order_id] = after
            return False
        if len(self._cursors) + len(self._starting) >= self._subscriptions_max:
            raise TooManySubscriptions
        self._starting[order_id] = after
        return True

    async def finish_follow(self, order_id: OrderId) -> None:
        """Completes what `begin_follow` started."""
        try:
            feed = await self._feeds.join(order_id, self)
        finally:
            after = self._starting.pop(order_id)
        if feed.account_id != self.caller.account_id:
            self._feeds.leave(feed, self)
            raise OrderNotFound("no such order")
        if after is None:
            self._feeds.leave(feed, self)
            return
        self._cursors[order_id] = Cursor(feed, after)
        metrics.SUBSCRIPTIONS.inc()
        self.feed_grew(feed)

    def unfollow(self, order_id: OrderId) -> None:
        """Stops following the order, if it is followed."""
        if order_id in self._starting:
            self._starting[order_id] = None
        cursor = self._cursors.pop(order_id, None)
        if cursor is not None:
            metrics.SUBSCRIPTIONS.dec()
            self._grown.pop(order_id, None)
            self._feeds.leave(cursor.feed, self)

    def unfollow_all(self) -> None:
        for order_id in list(self._cursors):
            self.unfollow(order_id)

    def feed_grew(self, feed: Feed) -> None:
        """Called by a feed when it has grown."""
        if feed.order_id in self._cursors:
            self._grown[feed.order_id] = None
            self._woken.set()

    def send_soon(self, message: dict[str, Any]) -> None:
        """Queues a message other than a frame."""
        self._messages.append(json.dumps(message, separators=(",", ":")))
        self._woken.set()

    async def wait_for_capacity(self) -> None:
        """Returns when fewer than MESSAGES_MAX messages are queued."""
        while len(self._messages) >= MESSAGES_MAX:
            self._capacity.clear()
            await self._capacity.wait()

    def exceeded_bound(self) -> str | None:
        """The bound that the client exceeds by not reading; to be called every CHECK_EVERY_S."""
        mark = (self._sent, self._wire.unsent_bytes) if self._sending else None
        self._progress = self._progress.at(mark)
        return self._progress.exceeded_bound(self._waiting) if self._progress.checks else None

    def _waiting(self) -> Waiting:
        texts = [
            text for cursor in self._cursors.values() for text in cursor.feed.frames[cursor.after :]
        ]
        texts.extend(self._messages)
        return Waiting(frames=len(texts), size_bytes=sum(map(len, texts)))

    # The sending task

    async def _send(self) -> Close:
        while True:
            while self._grown or self._messages:
                if self._messages:
                    await self._send_text(self._messages.popleft())
                    self._capacity.set()
                if self._grown:
                    order_id = next(iter(self._grown))
                    del self._grown[order_id]
                    await self._send_frames(order_id)
            if not self._cursors and not self.is_multiplexed:
                return Close.END
            try:
                async with asyncio.timeout(self._ping_s):
                    await self._woken.wait()
                self._woken.clear()
            except TimeoutError:
                await self._send_text(PING)

    async def _send_frames(self, order_id: OrderId) -> None:
        """Sends the frames after the cursor, which may be moved or removed meanwhile."""
        cursor = self._cursors[order_id]
        feed = cursor.feed
        while cursor.after < feed.last:
            cursor.after += 1
            await self._send_text(feed.frames[cursor.after - 1])
            metrics.FRAMES_SENT.inc()
            if self._cursors.get(order_id) is not cursor:
                return
        if feed.final:
            self.unfollow(order_id)
            if self.is_multiplexed:
                await self._send_text(f'{{"type":"end","orderId":"{order_id}"}}')

    async def _send_text(self, text: str) -> None:
        """Returns when the transport has taken the text: at once, or when the client has read more."""
        self._sending = True
        await self._websocket.send_text(text)
        self._sending = False
        self._sent += 1
        if self._sent % FRAMES_IN_A_ROW == 0:
            await asyncio.sleep(0)  # lets other sockets run
