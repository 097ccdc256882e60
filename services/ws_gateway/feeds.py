"""The events of the orders that clients follow: one shared list for each order.

Pub/sub brings news early and promises nothing. Each event carries its seq, so whatever is lost,
repeated or out of order is seen at once: the next one is appended, an old one dropped, and a gap
filled from PostgreSQL, where every event was committed before it was published. A position check
finds what pub/sub never brought. A socket is only a cursor into the list.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice

import structlog

from execution import metrics
from execution.adapters.frames import Frame, frame
from execution.adapters.orders import Orders
from execution.domain.errors import ExecutionError
from execution.domain.ids import OrderId
from execution.domain.status import FINAL, OrderStatus
from ws_gateway.subscriptions import Subscriptions

POSITIONS_CHUNK = 5_000
STARVED_CHECK_S = 0.5

log = structlog.get_logger()


class Feed:
    """One order's events from seq 1 on, serialized once for all its sockets."""

    def __init__(self, order_id: OrderId, orders: Orders) -> None:
        self.order_id = order_id
        self.followers = 0
        self.frames: list[str] = []
        self.final = False
        self._orders = orders
        self._changed = asyncio.Event()
        self._newest = 0  # the highest seq that pub/sub has told of
        self._loading: asyncio.Task[None] | None = None

    @property
    def last(self) -> int:
        """The seq of the newest event in the list."""
        return len(self.frames)

    async def beyond(self, cursor: int, *, timeout_s: float) -> list[str]:
        """The frames after `cursor`, at once or as they come; none when none came in time."""
        deadline = time.monotonic() + timeout_s
        while self.last <= cursor and not self.final:
            changed = self._changed
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                break
        return self.frames[cursor:]

    def offer(self, published: Frame) -> None:
        """Takes an event that pub/sub brought."""
        seq = published["seq"]
        if seq <= self.last:
            metrics.EVENTS_DROPPED.labels(reason="repeated").inc()
        elif seq == self.last + 1 and self._loading is None:
            committed_at = datetime.fromisoformat(published["timestamp"]).timestamp()
            metrics.FRAME_SECONDS.observe(max(0.0, time.time() - committed_at))
            self._append(published)
        else:
            self._newest = max(self._newest, seq)
            self.load(reason="gap")

    def load(self, *, reason: str) -> None:
        """Begins to read what is missing from PostgreSQL, unless that is under way."""
        if self._loading is None and not self.final:
            self._loading = asyncio.create_task(self._load(reason))

    async def loaded(self) -> None:
        """Reads what is missing; raises StoreUnavailable when PostgreSQL does not answer."""
        self.load(reason="connect")
        if self._loading is not None:
            await asyncio.shield(self._loading)

    async def _load(self, reason: str) -> None:
        """Reads until nothing newer was told of while it read: that may have been committed since."""
        try:
            while True:
                told = self._newest
                for event in await self._orders.history(self.order_id, after=self.last):
                    if event.seq == self.last + 1:
                        metrics.EVENTS_READ.labels(reason=reason).inc()
                        self._append(frame(event))
                if self._newest <= max(told, self.last):
                    break
        finally:
            self._loading = None

    def _append(self, event: Frame) -> None:
        self.frames.append(json.dumps(event, separators=(",", ":")))
        self.final = OrderStatus(event["status"]) in FINAL
        self._changed.set()
        self._changed = asyncio.Event()


class Feeds:
    """The feeds of all orders that have a socket here, and the position check that completes them."""

    def __init__(self, orders: Orders, subscriptions: Subscriptions, *, check_s: float) -> None:
        self._orders = orders
        self._subscriptions = subscriptions
        self._check_s = check_s
        self._feeds: dict[OrderId, Feed] = {}

    @asynccontextmanager
    async def follow(self, order_id: OrderId) -> AsyncIterator[Feed]:
        """The feed of an order, subscribed to and then loaded; empty when there is no such order.

        Raises StoreUnavailable when its history cannot be read.
        """
        feed = self._feeds.setdefault(order_id, Feed(order_id, self._orders))
        feed.followers += 1
        try:
            await self._subscriptions.subscribe(order_id)
            await feed.loaded()
            yield feed
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                del self._feeds[order_id]
                self._subscriptions.unsubscribe(order_id)

    def offer(self, order_id: OrderId, published: Frame) -> None:
        feed = self._feeds.get(order_id)
        if feed is not None:
            feed.offer(published)

    async def check_positions(self) -> None:
        """Compares, for ever, where the feeds stand with where PostgreSQL says they should."""
        while True:
            every_s = self._check_s if self._subscriptions.connected else STARVED_CHECK_S
            await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            open_feeds = iter([feed for feed in self._feeds.values() if not feed.final])
            while chunk := list(islice(open_feeds, POSITIONS_CHUNK)):
                try:
                    await self._check(chunk)
                except ExecutionError as error:
                    log.warning("position check failed", error=str(error))
                except Exception:  # without this loop, streams would hang for ever
                    log.exception("position check failed unexpectedly")

    async def _check(self, feeds: list[Feed]) -> None:
        positions = await self._orders.positions([feed.order_id for feed in feeds])
        for feed in feeds:
            if positions.get(feed.order_id, 0) > feed.last:
                feed.load(reason="position_check")


def parsed(message: bytes) -> Frame | None:
    """A published frame; None for what no dispatcher of ours would publish."""
    try:
        published = json.loads(message)
        OrderStatus(published["status"])
        zoned = datetime.fromisoformat(published["timestamp"]).tzinfo is not None
        return published if zoned and type(published["seq"]) is int else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
