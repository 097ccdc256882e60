"""Batching: items that arrive while a batch runs form the next batch.

There is no thread and no timed wait. A single item runs at once; under load the batches grow up to
`batch_max`. Statements to PostgreSQL and hints to Redis use it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

CLOSE_S = 2.0

log = structlog.get_logger()


class Batches(Generic[Item, Result]):
    """Runs items in batches, one batch at a time, as tasks of the event loop.

    `run` takes a batch and returns one result or one exception for each item, in the same order.
    An exception that it raises is the result of every item in the batch. All calls come from the
    thread of the event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        name: str,
        batch_max: int,
        backlog_max: int,
    ) -> None:
        self._run = run
        self._name = name
        self._batch_max = batch_max
        self._backlog_max = backlog_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result] | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._size = metrics.BATCH_SIZE.labels(batches=name)

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """The future result of `item`. Raises Overloaded when the backlog is full."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if not self._accepts():
            waiting = f"{self._backlog_max} calls are waiting"
            raise Overloaded(f"{self._name}: {'closed' if self._closed else waiting}")
        self._waiting.append((item, answer))
        self._start()
        return answer

    def offer(self, items: Iterable[Item]) -> int:
        """Runs items without waiting for their results; how many were refused: the backlog is full."""
        refused = 0
        for item in items:
            if self._accepts():
                self._waiting.append((item, None))
            else:
                refused += 1
        self._start()
        return refused

    async def close(self, *, timeout_s: float = CLOSE_S) -> None:
        """Refuses new items and runs those that wait, for at most `timeout_s`."""
        self._closed = True
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(self._task)

    def _accepts(self) -> bool:
        if self._closed:
            return False
        if len(self._waiting) >= self._backlog_max:
            metrics.BATCH_OVERFLOWS.labels(batches=self._name).inc()
            return False
        return True

    def _start(self) -> None:
        # a task begins in the next turn of the loop, so that calls of the same turn share a batch
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._batch_max)
                batch = [self._waiting.popleft() for _ in range(count)]
                results = await self._results([item for item, _ in batch])
                for (_, answer), result in zip(batch, results, strict=True):
                    if answer is not None:
                        _settle(answer, result)
        finally:
            self._task = None

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        self._size.observe(len(items))
        try:
            results = await self._run(items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(results)} results for {len(items)} items")
        except Exception as error:
            log.exception("batch failed", batches=self._name, size=len(items))
            return [error] * len(items)
        return results


def _settle(answer: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if answer.done():  # the caller was cancelled
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
