"""The concurrent RQ worker: N asyncio slots in one process on RQ's own keys, with batched Redis I/O.

One Lua call ends the jobs that have run, and claims as many as there are free slots and the rate
window allows. A job is always in exactly one of: the list, the intermediate list (only while a
process that waits idle hands it to the claim script), the started registry, the quarantine. So
`rq info`, `rq suspend` and a stock producer work as with a stock worker.

A slot is taken before a job is asked for, and a token together with it, so that no job waits
half-claimed. Redis may fail at any call: jobs in hand run on, what they ended is kept in memory
until it is written, and after a second of failures the worker says so by `without_redis`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
import structlog

from execution import metrics
from execution.adapters.executions import NOTHING, Claim, EndedJob, JobFunction, StartedJob
from execution.adapters.jobs import Jobs
from execution.adapters.listed_worker import ListedWorker
from execution.adapters.maintenance import Maintenance
from execution.adapters.rate_window import RateWindow
from execution.adapters.slots import Slots
from execution.domain.errors import ExecutionError, Overloaded, StoreUnavailable

IDLE_BLOCK_S = 0.5
CALL_EVERY_S = 0.5
PAUSE_MIN_S = 0.05
OUTAGE_AFTER_S = 1.0
BEAT_EVERY_S = 5.0
RECORD_AFTER_S = 0.1  # a job that is over by then never has the record that RQ's tools look for

RecentStarts = Callable[[], Awaitable[Mapping[str, float]]]

log = structlog.get_logger()


class JobRefused(ExecutionError):
    """A job that was not run, or not to its end."""


class SlotWorker(ListedWorker):
    """Runs the jobs of one queue on `slots`. `functions` is the allowlist: name -> coroutine.

    Jobs whose id begins with `hint_prefix` are hints of ours, which may be deleted where nobody
    will finish them; those created `stale_after_s` (0: never) before the newest in the queue, and so
    long ago, are dropped without a token. A function that raises StoreUnavailable or Overloaded has
    not begun: its job goes back to the head, and no other is claimed until `store_answers`.
    `recent_starts` gives job ids and ages in seconds for a shared window that Redis has lost.
    """

    def __init__(
        self,
        queue: str,
        *,
        client: redis.Redis,
        functions: Mapping[str, JobFunction],
        slots: Slots,
        window: RateWindow,
        hint_prefix: str,
        stale_after_s: float = 0,
        store_answers: Callable[[], Awaitable[bool]] | None = None,
        recent_starts: RecentStarts | None = None,
    ) -> None:
        super().__init__(queue, client=client, functions=functions)
        self.slots = slots
        self.last_claim: Claim | None = None
        self._window = window
        self._jobs = Jobs(
            queue,
            client=client,
            functions=functions,
            window=window,
            worker_name=self.name,
            worker_key=self.key,
            executions_key=self.executions_key,
            stale_after_s=stale_after_s,
            hint_prefix=hint_prefix,
        )
        self._maintenance = Maintenance(self, self._jobs)
        self._store_answers = store_answers
        self._recent_starts = recent_starts
        self._job_seconds = metrics.JOB_SECONDS.labels(queue=queue)
        self._succeeded = metrics.JOBS_FINISHED.labels(queue=queue, outcome="succeeded")
        self._failed = metrics.JOBS_FINISHED.labels(queue=queue, outcome="failed")
        self._redis_thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._running: dict[asyncio.Task[None], StartedJob] = {}
        # With those that run hardly more than there are slots: a call that claims writes these first.
        self._ended: list[EndedJob] = []
        self._unrecorded: dict[bytes, StartedJob] = {}  # plain ones that run
        self._ended_for_rq: list[EndedJob] = []  # which RQ ends in its own way
        self._refused: list[StartedJob] = []  # to go back to the head of the queue
        self._store_is_away = False
        self._failing_since: float | None = None
        self._next_beat = 0.0

    @property
    def without_redis(self) -> bool:
        """True once calls have failed for a second, with no success between.

        Counted from the first failure and not from the last success: a process that was paused has
        made no call, and is not without Redis.
        """
        since = self._failing_since
        return since is not None and time.monotonic() - since > OUTAGE_AFTER_S

    async def run(self, stop: asyncio.Event) -> None:
        """Claims and runs jobs until `stop` is set; those that run then are left to `drain`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._maintenance.run(stop))
            while not stop.is_set():
                await self._turn(stop)

    async def drain(self, *, timeout_s: float) -> None:
        """Waits for running jobs, cancels those that outlast `timeout_s`, and signs off."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._call(self._exchange, 0)
            await self._call(self._settle)
            await self._call(self.register_death)
        except redis.RedisError as error:
            log.warning("could not sign off from redis", error=str(error))
        self._redis_thread.shutdown()

    async def _turn(self, stop: asyncio.Event) -> None:
        """One exchange with Redis: beat, end what has run, claim what there is room for."""
        self._cancel_overdue()
        places = await self._places()
        if stop.is_set():
            self.slots.give_back(places)
            return
        claim = NOTHING
        try:
            claim = await self._call(self._exchange, places)
            if places and claim.is_idle:
                self.slots.give_back(places - 1)
                places = 1
                claim = await self._call(self._jobs.wait_for_one, IDLE_BLOCK_S)
            if self.without_redis:  # or has begun to be while a slot or the answer was awaited
                await self._call(self._window.forget)
            self._failing_since = None
            self.last_claim = claim
        except Exception as error:  # a reply that nobody foresaw must not end the process
            known = isinstance(error, redis.RedisError)
            log.warning(
                "redis call failed",
                error=str(error),
                without_redis=self.without_redis,
                exc_info=None if known else error,
            )
            metrics.REDIS_CALLS_FAILED.labels(queue=self._jobs.queue).inc()
            self.last_claim = None
            self._failing_since = self._failing_since or time.monotonic()
        finally:
            self.slots.give_back(places - len(claim.jobs))
        for job in claim.jobs:
            self._start(job)
        metrics.WITHOUT_REDIS.labels(queue=self._jobs.queue).set(self.without_redis)
        metrics.SLOTS_BUSY.labels(queue=self._jobs.queue).set(self.slots.count - self.slots.free)
        unwritten = len(self._ended) + len(self._ended_for_rq) + len(self._refused)
        metrics.JOBS_UNWRITTEN.labels(queue=self._jobs.queue).set(unwritten)
        if claim.window_unknown:
            await self._unite_window()
        if self.last_claim is None or (places and claim.room == 0) or self._store_is_away:
            await asyncio.sleep(min(max(claim.wait_s, PAUSE_MIN_S), CALL_EVERY_S))

    async def _places(self) -> int:
        """Slots taken for a claim; none for a probe, while Redis or the store is away."""
        if self.without_redis:
            return 0
        if self._store_is_away:
            answers = self._store_answers
            self._store_is_away = answers is not None and not await answers()
            if self._store_is_away:
                return 0
        places = await self.slots.take(self.slots.count, timeout_s=CALL_EVERY_S)
        # the mode has begun, or the job that gave its slot back has found out, meanwhile
        if self.without_redis or self._store_is_away:
            self.slots.give_back(places)
            return 0
        return places

    async def _unite_window(self) -> None:
        try:
            starts = await self._recent_starts() if self._recent_starts else {}
            await self._call(self._window.unite, starts)
            log.info("rate window united", starts=len(starts))
        except (StoreUnavailable, Overloaded, redis.RedisError) as error:
            log.warning("rate window not united, tries again", error=str(error))
            await asyncio.sleep(CALL_EVERY_S)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._redis_thread, function, *arguments)

    # On the Redis thread

    def _exchange(self, places: int) -> Claim:
        moment = time.monotonic()
        if self._failing_since is not None:
            self._jobs.mend()
            self._jobs.recall(self._known())
        if moment >= self._next_beat:
            self.beat(self._jobs, list(self._running.values()), busy=bool(self._running))
            self._next_beat = moment + BEAT_EVERY_S
        self._settle()
        ended = list(self._ended)
        before = moment - RECORD_AFTER_S
        unrecorded = [job for job in list(self._unrecorded.values()) if job.claimed_at < before]
        claim = self._jobs.claim(places, ended=ended, unrecorded=unrecorded)
        self._ended_for_rq += [each for each in ended if each.job.id in claim.left]
        del self._ended[: len(ended)]
        for job in unrecorded:
            self._unrecorded.pop(job.execution, None)
        return claim

    def _known(self) -> Set[bytes]:
        """What this worker has started, and is not yet written as ended, by its members."""
        jobs = list(self._running.values())  # before those that leave it for the other lists
        jobs += [each.job for each in (*self._ended, *self._ended_for_rq)]
        return {job.member for job in (*jobs, *self._refused)}

    def _settle(self) -> None:
        """Writes what no claim call writes; all is kept in memory until Redis has taken it."""
        while self._ended_for_rq:
            self.finish_as_rq(self._ended_for_rq[0])
            del self._ended_for_rq[0]
        if returning := list(self._refused):
            self._jobs.give_back(returning)
            metrics.JOBS_RETURNED.labels(queue=self._jobs.queue).inc(len(returning))
            del self._refused[: len(returning)]

    # On the event loop

    def _start(self, job: StartedJob) -> None:
        task = asyncio.create_task(self._perform(job))
        self._running[task] = job
        if job.plain:
            self._unrecorded[job.execution] = job
        task.add_done_callback(self._running.pop)

    async def _perform(self, job: StartedJob) -> None:
        try:
            began = time.perf_counter()
            try:
                result = await self._result(job)
            finally:
                self._job_seconds.observe(time.perf_counter() - began)
            self._end(EndedJob(job=job, result=result))
        except (StoreUnavailable, Overloaded):
            self._unrecorded.pop(job.execution, None)
            self._refused.append(job)
            self._store_is_away = True
        except asyncio.CancelledError as cancelled:
            overdue = str(cancelled)
            error = TimeoutError(overdue) if overdue else JobRefused("the worker stopped")
            log.warning("job cut off", job_id=repr(job.id), reason=str(error))
            self._end(EndedJob(job=job, error=error))
            raise
        except Exception as error:
            log.exception("job failed", job_id=repr(job.id))
            self._end(EndedJob(job=job, error=error))
        finally:
            self.slots.give_back(1)

    async def _result(self, job: StartedJob) -> object:
        if job.function is None:
            raise JobRefused("it names no allowed function")
        return await job.function(*job.arguments, **job.keywords)

    def _cancel_overdue(self) -> None:
        """Once a turn, which is at least every second: a timer for each job would cost more."""
        moment = time.monotonic()
        for task, job in self._running.items():
            if moment > job.claimed_at + job.timeout_s and not task.cancelling():
                task.cancel(f"it outlasted its timeout of {job.timeout_s:g} s")

    def _end(self, ended: EndedJob) -> None:
        (self._failed if ended.error else self._succeeded).inc()
        self._unrecorded.pop(ended.job.execution, None)
        (self._ended if ended.job.plain else self._ended_for_rq).append(ended)
