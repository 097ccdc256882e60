"""The events of the orders that clients follow: one shared list for each order.

Pub/sub delivers events early and guarantees nothing. Each event has its seq, so a feed notices what
is lost, repeated or out of order: it appends the next event, drops old ones, and fills a gap from
PostgreSQL, where every event was committed before it was published. A position check finds events
that pub/sub never delivered. A socket is a cursor into the list and is notified when it grows.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.status import FINAL
from order_engine.execution.messages.frames import frame_text
from order_engine.execution.orders.repository import Orders
from order_engine.serving.websocket import text_frame
from order_engine.ws_gateway.subscriptions import Subscriptions
from order_engine.ws_gateway.verified_frames import Published

POSITIONS_CHUNK = 5_000
DISCONNECTED_CHECK_S = 0.5

log = structlog.get_logger()


class Follower(Protocol):
    def feed_grew(self) -> int:
        """Called by the feed: must return at once and never raise. How many frames it has sent."""


class Feed:
    """The events of one order from seq 1 on, serialized once for all its sockets.

    `account_id` is None until the order has been read, and when there is no such order. Sockets of
    any account may wait for it.
    """

    def __init__(self, order_id: OrderId, orders: Orders) -> None:
        self.order_id = order_id
        self.account_id: AccountId | None = None
        self.followers: set[Follower] = set()
        self.frames: list[bytes] = []  # as they are sent
        self.final = False
        self._orders = orders
        self._newest = 0  # the highest seq that pub/sub has delivered
        self._loading: asyncio.Task[None] | None = None

    @property
    def last(self) -> int:
        """The seq of the newest event in the list."""
        return len(self.frames)

    @property
    def is_complete(self) -> bool:
        """Nothing is left to read. Pub/sub alone may deliver every event, but not the account."""
        return self.final and self.account_id is not None

    def offer(self, published: Published) -> None:
        """Takes an event from pub/sub."""
        seq = published.seq
        if seq <= self.last:
            metrics.EVENTS_DROPPED.labels(reason="repeated").inc()
        elif seq == self.last + 1 and self._loading is None:
            age_s = time.time() - published.committed_at.timestamp()
            metrics.FRAME_SECONDS.observe(max(0.0, age_s))
            self._append(published.text, is_final=published.is_final)
            self._notify()
        else:
            self._newest = max(self._newest, seq)
            self.load(reason="gap")

    def load(self, *, reason: str) -> None:
        """Starts to read the missing events from PostgreSQL, unless a read is in progress."""
        if self._loading is None and not self.is_complete:
            self._loading = asyncio.create_task(self._load(reason))
            self._loading.add_done_callback(self._log_failure)

    async def loaded(self) -> None:
        """Reads the missing events. Raises StoreUnavailable when PostgreSQL does not answer."""
        self.load(reason="connect")
        if self._loading is not None:
            await asyncio.shield(self._loading)

    async def _load(self, reason: str) -> None:
        """Reads again while newer events arrive, because a read may have started before their commit."""
        try:
            while True:
                newest = self._newest
                history = await self._orders.history(self.order_id, after=self.last)
                if history is None:
                    break
                self.account_id = history.account_id
                for event in history.events:
                    if event.seq == self.last + 1:
                        metrics.EVENTS_READ.labels(reason=reason).inc()
                        text = frame_text(event)
                        self._append(text, is_final=event.status in FINAL)
                self._notify()
                if self._newest <= max(newest, self.last):
                    break
        finally:
            self._loading = None

    def _log_failure(self, loading: asyncio.Task[None]) -> None:
        error = None if loading.cancelled() else loading.exception()
        if error is not None:
            log.warning("events not read", order_id=str(self.order_id), error=str(error))

    def _append(self, text: str, *, is_final: bool) -> None:
        self.frames.append(text_frame(text))
        self.final = is_final

    def _notify(self) -> None:
        # a copy, because a follower that has the final frame leaves
        sent = sum([follower.feed_grew() for follower in tuple(self.followers)])
        metrics.FRAMES_SENT.inc(sent)


class Feeds:
    """The feeds of all orders with a socket in this process, and the position check."""

    def __init__(self, orders: Orders, subscriptions: Subscriptions, *, check_s: float) -> None:
        self._orders = orders
        self._subscriptions = subscriptions
        self._check_s = check_s
        self._feeds: dict[OrderId, Feed] = {}

    async def join(self, order_id: OrderId, follower: Follower) -> Feed:
        """The feed of an order, subscribed to and then loaded; it notifies the follower until `leave`.

        Raises StoreUnavailable or Overloaded when its history cannot be read.
        """
        feed = self._feeds.setdefault(order_id, Feed(order_id, self._orders))
        feed.followers.add(follower)
        try:
            await self._subscriptions.subscribe(order_id)
            if not feed.is_complete:
                await feed.loaded()
        except BaseException:
            self.leave(feed, follower)
            raise
        return feed

    def leave(self, feed: Feed, follower: Follower) -> None:
        feed.followers.discard(follower)
        if not feed.followers and self._feeds.get(feed.order_id) is feed:
            del self._feeds[feed.order_id]
            self._subscriptions.unsubscribe(feed.order_id)

    def offer(self, order_id: OrderId, published: Published) -> None:
        feed = self._feeds.get(order_id)
        if feed is not None:
            feed.offer(published)

    async def check_positions(self) -> None:
        """Compares the feeds with PostgreSQL until cancelled, and loads what they lack."""
        while True:
            await self._pause()
            open_feeds = iter([feed for feed in self._feeds.values() if not feed.final])
            while chunk := list(islice(open_feeds, POSITIONS_CHUNK)):
                try:
                    await self._check(chunk)
                except ExecutionError as error:
                    log.warning("position check failed", error=str(error))
                except Exception:  # a stopped loop would leave streams without lost events
                    log.exception("position check failed unexpectedly")

    async def _pause(self) -> None:
        """Waits for the next check: at most half a second after pub/sub was lost or is back."""
        every_s = self._check_s if self._subscriptions.connected else DISCONNECTED_CHECK_S
        changed = False
        with suppress(TimeoutError):
            async with asyncio.timeout(_about(every_s)):
                await self._subscriptions.connection_changed()
                changed = True
        if changed:
            await asyncio.sleep(_about(DISCONNECTED_CHECK_S / 2))

    async def _check(self, feeds: Sequence[Feed]) -> None:
        positions = await self._orders.positions([feed.order_id for feed in feeds])
        for feed in feeds:
            if positions.get(feed.order_id, 0) > feed.last:
                feed.load(reason="position_check")


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
