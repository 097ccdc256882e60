"""Batching: one thread runs, as one batch, the items that arrived while the previous batch ran.

There is no timed wait. A single call runs at once; under load the batches grow up to `batch_max`.
Statements to PostgreSQL, hints to Redis and publications use it.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import Overloaded
from order_engine.execution.stores.closing import CLOSE_S

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Call(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result] | None


class Batches(Generic[Item, Result]):
    """Runs items in batches on a thread of its own.

    `run` takes a batch and returns one result or one exception for each item, in the same order.
    An exception that it raises is the result of every item in the batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        name: str,
        batch_max: int,
        backlog_max: int,
    ) -> None:
        self._run = run
        self._name = name
        self._batch_max = batch_max
        self._calls: queue.Queue[_Call[Item, Result] | None] = queue.Queue(backlog_max)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def call(self, item: Item) -> Result:
        """The result of `item` once its batch has run. Raises Overloaded when the backlog is full."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if not self._take(_Call(item, answer)):
            waiting = f"{self._calls.maxsize} calls are waiting"
            raise Overloaded(f"{self._name}: {'closed' if self._closed else waiting}")
        return await answer

    def offer(self, item: Item) -> bool:
        """Runs `item` without waiting for the result; False when the backlog is full."""
        return self._take(_Call(item, None))

    def close(self, *, timeout_s: float = CLOSE_S) -> None:
        """Refuses new items, runs those that wait, and ends the thread; waits at most `timeout_s`."""
        self._closed = True
        deadline = time.monotonic() + timeout_s
        # when the backlog stays full, a batch hangs; the daemon thread then ends with the process
        with suppress(queue.Full):
            self._calls.put(None, timeout=timeout_s)
            self._thread.join(max(deadline - time.monotonic(), 0))

    def _take(self, call: _Call[Item, Result]) -> bool:
        if self._closed:
            return False
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            metrics.BATCH_OVERFLOWS.labels(batches=self._name).inc()
            return False
        return True

    def _work(self) -> None:
        is_last = False
        while not is_last:
            calls, is_last = self._gather()
            if calls:
                self._answer(calls, self._results(calls))

    def _gather(self) -> tuple[list[_Call[Item, Result]], bool]:
        """The calls that wait, at least one, and whether the thread ends after them."""
        call = self._calls.get()
        calls = []
        while call is not None:
            calls.append(call)
            if len(calls) == self._batch_max:
                return calls, False
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return calls, False
        return calls, True

    def _results(self, calls: Sequence[_Call[Item, Result]]) -> Sequence[Result | Exception]:
        metrics.BATCH_SIZE.labels(batches=self._name).observe(len(calls))
        try:
            results = self._run([call.item for call in calls])
            if len(results) != len(calls):
                raise RuntimeError(f"{len(results)} results for {len(calls)} items")
        except Exception as error:
            log.exception("batch failed", batches=self._name, size=len(calls))
            return [error] * len(calls)
        return results

    def _answer(
        self, calls: Sequence[_Call[Item, Result]], results: Sequence[Result | Exception]
    ) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Answer[Result]]] = {}
        for call, result in zip(calls, results, strict=True):
            if call.answer is not None:
                by_loop.setdefault(call.answer.get_loop(), []).append((call.answer, result))
        for loop, answers in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, answers)


_Answer = tuple[asyncio.Future[Result], Result | Exception]


def _settle(answers: Sequence[_Answer[Result]]) -> None:
    for future, result in answers:
        if future.done():  # the caller was cancelled
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
