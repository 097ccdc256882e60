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
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import redis
import structlog

from rq_slots import metrics
from rq_slots.errors import JobRefused
from rq_slots.executions import NOTHING, ClaimedJobs, EndedJob, JobFunction, StartedJob
from rq_slots.job_queue import JobQueue
from rq_slots.maintenance import Maintenance
from rq_slots.rate_window import RateWindow
from rq_slots.registration import RqRegistration
from rq_slots.running_jobs import RunningJobs
from rq_slots.slots import Slots
from rq_slots.unreported import UnreportedResults

IDLE_BLOCK_S = 0.5
CALL_EVERY_S = 0.5
PAUSE_MIN_S = 0.05
OUTAGE_AFTER_S = 1.0
BEAT_EVERY_S = 5.0
CANCELLED_WITHIN_S = 1.0
RECORD_AFTER_S = 0.1  # a job that is over by then never has the record that RQ's tools look for

RecentStarts = Callable[[], Awaitable[Mapping[str, float]]]

log = structlog.get_logger()


class SlotWorker:
    """Runs the jobs of one queue on `slots`. `functions` is the allowlist: name -> coroutine.

    Jobs whose id begins with `hint_prefix` are hints of ours, which may be deleted where nobody
    will finish them; those created `stale_after_s` (0: never) before the newest in the queue, and so
    long ago, are dropped without a token. A function that raises one of `not_begun` has not
    begun: its job goes back to the head, and no other is claimed until `store_answers`.
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
        not_begun: tuple[type[Exception], ...] = (),
        store_answers: Callable[[], Awaitable[bool]] | None = None,
        recent_starts: RecentStarts | None = None,
    ) -> None:
        self.registration = RqRegistration(queue, client=client, functions=functions)
        self.slots = slots
        self.last_claim: ClaimedJobs | None = None
        self._window = window
        self._jobs = JobQueue(
            queue,
            client=client,
            functions=functions,
            window=window,
            worker_name=self.registration.name,
            worker_key=self.registration.key,
            executions_key=self.registration.executions_key,
            stale_after_s=stale_after_s,
            hint_prefix=hint_prefix,
        )
        metrics.SLOTS.labels(queue=queue).set(slots.count)
        self._maintenance = Maintenance(self.registration, self._jobs)
        self._not_begun = not_begun
        self._retried: tuple[type[Exception], ...] = (*not_begun, redis.RedisError)
        self._store_answers = store_answers
        self._recent_starts = recent_starts
        self._job_seconds = metrics.JOB_SECONDS.labels(queue=queue)
        self._succeeded = metrics.JOBS_FINISHED.labels(queue=queue, outcome="succeeded")
        self._failed = metrics.JOBS_FINISHED.labels(queue=queue, outcome="failed")
        self._redis_thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._running = RunningJobs()
        # With those that run hardly more than there are slots: a call that claims tells these first.
        self._unreported = UnreportedResults()
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
        leases = asyncio.create_task(self._keep_leases())
        await self._running.end(timeout_s=timeout_s, cancelled_within_s=CANCELLED_WITHIN_S)
        leases.cancel()
        await asyncio.gather(leases, return_exceptions=True)
        await self._sign_off()
        self._redis_thread.shutdown()

    async def _keep_leases(self) -> None:
        """What a turn does besides claiming, for the jobs that are waited for."""
        while True:
            await asyncio.sleep(CALL_EVERY_S)
            self._running.cancel_overdue()
            await self._tried(self._exchange, 0)

    async def _sign_off(self) -> None:
        # once more: the connection may have been dropped while jobs were waited for
        if not (await self._tried(self._leave) or await self._tried(self._leave)):
            log.warning("could not sign off from redis", unwritten=self._unreported.count)

    async def _tried(self, function: Callable[..., Any], *arguments: Any) -> bool:
        try:
            await self._call(function, *arguments)
        except Exception as error:
            self._note_failed_call(error)
            return False
        self._failing_since = None
        return True

    async def _turn(self, stop: asyncio.Event) -> None:
        """One exchange with Redis: beat, end what has run, claim what there is room for."""
        self._running.cancel_overdue()
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
            self._note_failed_call(error)
        finally:
            self.slots.give_back(places - len(claim.jobs))
        for job in claim.jobs:
            self._start(job)
        metrics.WITHOUT_REDIS.labels(queue=self._jobs.queue).set(self.without_redis)
        metrics.SLOTS_BUSY.labels(queue=self._jobs.queue).set(self.slots.count - self.slots.free)
        metrics.JOBS_UNWRITTEN.labels(queue=self._jobs.queue).set(self._unreported.count)
        if claim.window_unknown:
            await self._merge_window()
        if self.last_claim is None or (places and claim.room == 0) or self._store_is_away:
            await asyncio.sleep(min(max(claim.wait_s, PAUSE_MIN_S), CALL_EVERY_S))

    def _note_failed_call(self, error: Exception) -> None:
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

    async def _merge_window(self) -> None:
        try:
            starts = await self._recent_starts() if self._recent_starts else {}
            await self._call(self._window.merge_known_starts, starts)
            log.info("rate window united", starts=len(starts))
        except self._retried as error:
            log.warning("rate window not united, tries again", error=str(error))
            await asyncio.sleep(CALL_EVERY_S)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._redis_thread, function, *arguments)

    # On the Redis thread

    def _exchange(self, places: int) -> ClaimedJobs:
        moment = time.monotonic()
        if self._failing_since is not None:
            self._jobs.mend()
            self._jobs.requeue_unanswered_claims()
        with suppress(redis.exceptions.OutOfMemoryError):  # the ends that follow make room
            if moment >= self._next_beat:
                running = self._running.jobs
                self.registration.beat(self._jobs, running, busy=bool(running))
                self._next_beat = moment + BEAT_EVERY_S
            self._settle()
        ended = list(self._unreported.ended)
        unrecorded = self._unreported.unrecorded(claimed_before=moment - RECORD_AFTER_S)
        claim = self._jobs.claim(places, ended=ended, unrecorded=unrecorded)
        self._unreported.for_rq += [each for each in ended if each.job.id in claim.left]
        del self._unreported.ended[: len(ended)]
        self._unreported.note_recorded(unrecorded)
        return claim

    def _leave(self) -> None:
        self._exchange(0)
        self._settle()
        self.registration.register_death()  # type: ignore[no-untyped-call]  # untyped in rq

    def _settle(self) -> None:
        """Writes what no claim call writes; all is kept in memory until Redis has taken it."""
        while self._unreported.for_rq:
            self.registration.finish_as_rq(self._unreported.for_rq[0])
            del self._unreported.for_rq[0]
        if returning := list(self._unreported.refused):
            self._jobs.put_back(returning)
            metrics.JOBS_RETURNED.labels(queue=self._jobs.queue).inc(len(returning))
            del self._unreported.refused[: len(returning)]

    # On the event loop

    def _start(self, job: StartedJob) -> None:
        self._unreported.start(job)
        self._running.start(job, self._perform(job))

    async def _perform(self, job: StartedJob) -> None:
        began = time.perf_counter()
        try:
            result = await self._result(job)
            self._end(EndedJob(job=job, result=result))
        except self._not_begun:
            self._unreported.refuse(job)
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
            self._job_seconds.observe(time.perf_counter() - began)
            self.slots.give_back(1)

    async def _result(self, job: StartedJob) -> object:
        if job.function is None:
            raise JobRefused("it names no allowed function")
        return await job.function(*job.arguments, **job.keywords)

    def _end(self, ended: EndedJob) -> None:
        (self._failed if ended.error else self._succeeded).inc()
        self._unreported.end(ended)
