"""Clients that place orders at a steady rate while a test disturbs the fleet, and their results.

Two streams follow each order to its end, and then the order is read. Every second order uses kept
connections, the others use new ones: a kept connection stays with one pod, and the Service chooses
a pod for a new one.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from order_engine.client import EngineClient, EngineUnavailable
from order_engine.execution.domain.status import FINAL
from proof.history import Violation
from support.evidence import rows
from support.stores import Databases
from support.trading import SOL_USDC, Trading
from support.waiting import wait_until

ORDERS_PER_S = 4
STREAMS = 2
FAILING_EVERY = 10
UNREACHABLE = "1000000000"  # a minimum that no venue reaches, so that the order fails
RETRY_EVERY_S = 0.2
RETRY_FOR_S = 90
END_WITHIN_S = 120
PLACED_TIMEOUT_S = 120

Response = TypeVar("Response")


@dataclass(slots=True)
class Load:
    """A running load; after it has ended, its results."""

    client: Callable[[], EngineClient]
    trading: Trading = field(default_factory=Trading)
    key_prefix: str = field(default_factory=lambda: f"load-{uuid.uuid4().hex[:12]}-")
    # the errors after which a client repeated a request
    retried_errors: list[str] = field(default_factory=list)
    post_seconds: list[float] = field(default_factory=list)  # including repeated requests
    order_seconds: list[float] = field(default_factory=list)  # from the response to the last frame
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context ends once every order that was placed and all its streams have ended."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._trade())
        except BaseException as error:  # raised again at the end of `running`
            self.error = error

    async def _trade(self) -> None:
        began, placed = time.monotonic(), 0
        async with self.client() as kept, asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                tasks.create_task(self._place_and_follow(placed, kept))
                placed += 1
                await asyncio.sleep(began + placed / ORDERS_PER_S - time.monotonic())

    async def _place_and_follow(self, n: int, kept: EngineClient) -> None:
        form: dict[str, Any] = dict(SOL_USDC, idempotency_key=f"{self.key_prefix}{n}")
        if n % FAILING_EVERY == FAILING_EVERY - 1:
            form["min_amount_out"] = UNREACHABLE
        async with AsyncExitStack() as stack:
            engine = kept if n % 2 else await stack.enter_async_context(self.client())
            began = time.monotonic()
            placed = await self._with_retries(lambda: engine.place_order(**form))
            self.post_seconds.append(time.monotonic() - began)
            self.trading.acknowledged.append(placed.order_id)
            began = time.monotonic()
            await self.trading.follow(
                engine, [placed.order_id], clients=STREAMS, within_s=END_WITHIN_S
            )
            self.order_seconds.append(time.monotonic() - began)
            order = await self._with_retries(lambda: engine.get_order(placed.order_id))
            assert order.status in FINAL, f"the stream has ended before the order: {order}"

    async def _with_retries(self, call: Callable[[], Awaitable[Response]]) -> Response:
        """Repeats the request after each 5xx and each failed connection, and records the error."""
        began = time.monotonic()
        while True:
            try:
                return await call()
            except EngineUnavailable as error:
                self.retried_errors.append(_with_root_cause(error))
                if time.monotonic() - began > RETRY_FOR_S:
                    raise
                await asyncio.sleep(RETRY_EVERY_S)

    def wait_for(self, *, orders: int) -> None:
        """Waits until this many more orders have been placed."""
        target = self.orders + orders
        wait_until(
            lambda: self.orders >= target or self.error is not None,
            timeout_s=PLACED_TIMEOUT_S,
            what=f"{orders} more orders",
        )

    # results

    @property
    def orders(self) -> int:
        return len(self.trading.acknowledged)

    @property
    def frames(self) -> int:
        return sum(map(len, self.trading.logs.values()))

    def violations(self, databases: Databases) -> list[Violation]:
        return self.trading.violations(databases)

    def unmatched_orders(self, databases: Databases) -> set[UUID]:
        """Orders of this load that exist only in PostgreSQL or only for the clients."""
        sql = "SELECT id FROM orders WHERE idempotency_key LIKE %s"
        kept = {row["id"] for row in rows(databases.orders_url, sql, [f"{self.key_prefix}%"])}
        return kept ^ set(self.trading.acknowledged)


def _with_root_cause(error: BaseException) -> str:
    """The error and its root cause."""
    cause = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return str(error) if cause is error else f"{error} ({cause})"
