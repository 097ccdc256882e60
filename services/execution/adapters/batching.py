"""Group commit as a small machine: one thread that runs, as one batch, whatever gathered while the
batch before it ran.

There is no timed wait. A lone call runs alone and at once; under load the batches grow by
themselves, up to `batch_max`. The same machine carries writes to PostgreSQL, jobs to Redis,
publications and the calls to the simulated chain.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from execution import metrics
from execution.domain.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Call(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result] | None


class Batches(Generic[Item, Result]):
    """Runs items in batches on a thread of its own.

    `run` takes a batch and returns one result or one exception for each item, in the same order;
    an exception that it raises goes to every item of the batch.
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
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def call(self, item: Item) -> Result:
        """The result for `item` once its batch has run; raises Overloaded when the backlog is full."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        try:
            self._calls.put_nowait(_Call(item, answer))
        except queue.Full:
            metrics.BATCH_OVERFLOWS.labels(batches=self._name).inc()
            raise Overloaded(f"{self._name}: {self._calls.maxsize} calls are waiting") from None
        return await answer

    def offer(self, item: Item) -> bool:
        """Has `item` run some time, with nobody waiting; False when the backlog is full."""
        try:
            self._calls.put_nowait(_Call(item, None))
        except queue.Full:
            metrics.BATCH_OVERFLOWS.labels(batches=self._name).inc()
            return False
        return True

    def close(self, *, timeout_s: float = 5.0) -> None:
        """Runs what was already given, then ends the thread."""
        self._calls.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (calls := self._gather()) is not None:
            metrics.BATCH_SIZE.labels(batches=self._name).observe(len(calls))
            try:
                results = self._run([call.item for call in calls])
            except Exception as error:
                log.exception("batch failed", batches=self._name, size=len(calls))
                results = [error] * len(calls)
            by_loop: dict[asyncio.AbstractEventLoop, list[_Answer[Result]]] = {}
            for call, result in zip(calls, results, strict=True):
                if call.answer is not None:
                    by_loop.setdefault(call.answer.get_loop(), []).append((call.answer, result))
            for loop, answers in by_loop.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, answers)

    def _gather(self) -> list[_Call[Item, Result]] | None:
        first = self._calls.get()
        if first is None:
            return None
        calls = [first]
        while len(calls) < self._batch_max:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is None:
                self._calls.put(None)  # run this batch, then end
                break
            calls.append(call)
        return calls


_Answer = tuple[asyncio.Future[Result], Result | Exception]


def _settle(answers: Sequence[_Answer[Result]]) -> None:
    for future, result in answers:
        if future.done():  # the caller has been cancelled meanwhile
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
