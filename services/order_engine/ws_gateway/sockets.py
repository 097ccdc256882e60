"""One client's socket: a cursor for each order that it follows.

Frames are not queued for a socket. Feeds notify it of orders that grew, its cursors say what to
send next, and the transport takes little before it waits for the client. Sending needs no task: it
goes on when an order has grown, and when the client has read.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from order_engine.execution import metrics
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.errors import ExecutionError, OrderNotFound
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.stream_contract import Close
from order_engine.serving.websocket import WIRE, WebSocketConnection, text_frame
from order_engine.ws_gateway.feeds import Feed, Feeds
from order_engine.ws_gateway.slow_readers import NO_PROGRESS, Waiting

PING = '{"type":"ping"}'
PING_FRAME = text_frame(PING)
FRAMES_IN_A_ROW = 64
MESSAGES_MAX = 200


class TooManySubscriptions(ExecutionError):
    """The socket follows as many orders as it may."""


class Cursor:
    """The place of a socket in the events of one order. It is the follower that a feed notifies."""

    __slots__ = ("after", "feed", "frames", "is_wanted", "socket")

    def __init__(self, socket: "Socket", *, after: int) -> None:
        self.socket = socket
        self.after = after  # the last seq that the client has
        self.is_wanted = True  # False: unfollowed before the order was read
        self.feed: Feed | None = None  # once the order has been read
        self.frames: Sequence[bytes] = ()  # of the feed

    def begin(self, feed: Feed) -> None:
        self.feed, self.frames = feed, feed.frames

    def feed_grew(self) -> int:
        return 0 if self.feed is None else self.socket.send_frames(self)


class Socket:
    """When `is_multiplexed`, the socket stays open after its orders end, and sends the end of each."""

    # there are tens of thousands
    # fmt: off
    __slots__ = (
        "_capacity", "_continues", "_cursors", "_ended", "_feeds", "_grown", "_loop", "_messages",
        "_ping", "_ping_s", "_progress", "_sent", "_sent_at", "_starting", "_subscriptions_max",
        "_wire", "caller", "is_multiplexed",
    )
    # fmt: on

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
        self._wire: WebSocketConnection = websocket.scope["state"][WIRE]
        self._feeds = feeds
        self._ping_s = ping_s
        self._subscriptions_max = subscriptions_max
        self._cursors: dict[OrderId, Cursor] = {}
        self._starting: dict[OrderId, Cursor] = {}  # of orders that are being read
        self._grown: dict[Cursor, None] = {}  # an ordered set
        self._messages: list[bytes] = []
        self._capacity: asyncio.Future[None] | None = None  # awaited by the task that reads
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Close] = self._loop.create_future()
        self._sent = 0
        self._sent_at = self._loop.time()
        self._continues = False  # in the next turn of the loop
        self._progress = NO_PROGRESS

    async def run(self, listening: Coroutine[Any, Any, None]) -> Close:
        """Sends until the socket ends; returns the code to close it with.

        `listening` reads what the client sends, and raises when the client disconnects.
        """
        self._wire.on_writable = self._continue
        listener = asyncio.create_task(listening)
        listener.add_done_callback(self._end_with)
        self._ping: asyncio.TimerHandle = self._loop.call_later(self._ping_s, self._ping_when_idle)
        self._continue()
        try:
            return await self._ended
        finally:
            self._ping.cancel()
            self._wire.on_writable = None
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    def _end_with(self, listener: asyncio.Task[None]) -> None:
        if not listener.cancelled() and not self._ended.done() and (error := listener.exception()):
            self._ended.set_exception(error)

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
            metrics.FRAMES_SENT.inc(cursor.feed_grew())
            return False
        if order_id in self._starting:
            self._starting[order_id].after = after
            self._starting[order_id].is_wanted = True
            return False
        if len(self._cursors) + len(self._starting) >= self._subscriptions_max:
            raise TooManySubscriptions
        self._starting[order_id] = Cursor(self, after=after)
        return True

    async def finish_follow(self, order_id: OrderId) -> None:
        """Completes what `begin_follow` started."""
        cursor = self._starting[order_id]
        try:
            feed = await self._feeds.join(order_id, cursor)
        finally:
            del self._starting[order_id]
        if feed.account_id != self.caller.account_id:
            self._feeds.leave(feed, cursor)
            raise OrderNotFound("no such order")
        if not cursor.is_wanted:
            self._feeds.leave(feed, cursor)
            return
        cursor.begin(feed)
        self._cursors[order_id] = cursor
        metrics.SUBSCRIPTIONS.inc()
        metrics.FRAMES_SENT.inc(cursor.feed_grew())

    def unfollow(self, order_id: OrderId) -> None:
        """Stops following the order, if it is followed."""
        if order_id in self._starting:
            self._starting[order_id].is_wanted = False
        cursor = self._cursors.pop(order_id, None)
        if cursor is not None and cursor.feed is not None:
            metrics.SUBSCRIPTIONS.dec()
            self._grown.pop(cursor, None)
            self._feeds.leave(cursor.feed, cursor)

    def unfollow_all(self) -> None:
        for order_id in list(self._cursors):
            self.unfollow(order_id)

    def send_frames(self, cursor: Cursor) -> int:
        """Sends the frames after a cursor; how many the client took at once."""
        self._grown[cursor] = None
        return self._send()

    def send_soon(self, message: dict[str, Any]) -> None:
        """Queues a message other than a frame."""
        self._messages.append(text_frame(json.dumps(message, separators=(",", ":"))))
        self._continue()

    async def wait_for_capacity(self) -> None:
        """Returns when fewer than MESSAGES_MAX messages are queued."""
        while len(self._messages) >= MESSAGES_MAX:
            self._capacity = self._loop.create_future()
            await self._capacity

    def exceeded_bound(self) -> str | None:
        """The bound that the client exceeds by not reading; to be called every CHECK_EVERY_S."""
        if self._wire.is_writable or not (self._grown or self._messages):
            self._progress = NO_PROGRESS
            return None
        self._progress = self._progress.at((self._sent, self._wire.unsent_bytes))
        return self._progress.exceeded_bound(self._waiting)

    def _waiting(self) -> Waiting:
        frames = [
            frame for cursor in self._cursors.values() for frame in cursor.frames[cursor.after :]
        ]
        frames.extend(self._messages)
        return Waiting(frames=len(frames), size_bytes=sum(map(len, frames)))

    # Sending

    def _send(self) -> int:
        """Sends what waits, as far as the client reads it, and at most FRAMES_IN_A_ROW frames.

        Returns how many frames the client took.
        """
        if self._ended.done():
            return 0
        if not self._wire.is_open:
            self._ended.set_exception(WebSocketDisconnect(code=1006))
            return 0
        count = 0
        while self._wire.is_writable:
            if self._messages:
                self._write(self._messages.pop(0))
                if self._capacity is not None and not self._capacity.done():
                    self._capacity.set_result(None)
            elif not self._grown:
                break
            elif count >= FRAMES_IN_A_ROW:
                self._continue_soon()
                break
            else:
                count += self._send_next(FRAMES_IN_A_ROW - count)
        if not (self._grown or self._messages or self._cursors or self.is_multiplexed):
            self.end(Close.END)
        return count

    def _continue_soon(self) -> None:
        """Lets other sockets send first."""
        if not self._continues:
            self._continues = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._continues = False
        metrics.FRAMES_SENT.inc(self._send())

    def _send_next(self, most: int) -> int:
        """Sends up to `most` frames of one order that has grown; how many the client took."""
        cursor = next(iter(self._grown))
        frames, after = cursor.frames, cursor.after
        end = min(len(frames), after + most)
        while after < end and self._wire.is_writable:
            self._write(frames[after])
            after += 1
        count, cursor.after = after - cursor.after, after
        if after >= len(frames):
            del self._grown[cursor]
            if cursor.feed is not None and cursor.feed.final:
                self._end_order(cursor.feed.order_id)
        return count

    def _end_order(self, order_id: OrderId) -> None:
        self.unfollow(order_id)
        if self.is_multiplexed:
            self._write(text_frame(f'{{"type":"end","orderId":"{order_id}"}}'))

    def _write(self, frame: bytes) -> None:
        self._wire.transport.write(frame)
        self._sent += 1
        self._sent_at = self._loop.time()

    def _ping_when_idle(self) -> None:
        """Sends a ping when nothing was sent for `ping_s`, and waits until the next one is due."""
        now = self._loop.time()
        due = self._sent_at + self._ping_s
        if due <= now:
            if self._wire.is_writable and self._wire.is_open:
                self._write(PING_FRAME)
            due = now + self._ping_s
        self._ping = self._loop.call_at(due, self._ping_when_idle)
