"""The concurrent RQ worker: N asyncio slots in one process on RQ's own keys, with batched Redis I/O.

One Lua call reports the jobs that have ended and claims new ones for the free slots. A job is always
in exactly one of: the list, the intermediate list, the started registry, the quarantine.

Redis may fail at any call: running jobs go on, and their results stay in memory until Redis has
them. After a second of failures `without_redis` is True.
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
from rq_slots.redis_state import RedisState
from rq_slots.registration import RqRegistration
from rq_slots.running_jobs import RunningJobs
from rq_slots.slots import Slots
from rq_slots.unreported import UnreportedResults

IDLE_BLOCK_S = 0.75  # below the client's socket timeout
CALL_INTERVAL_S = 0.5
PAUSE_MIN_S = 0.05
JOB_LEASE_S = 20
BEATS_PER_LEASE = 4  # a job's lease is renewed this often before it would end
CANCELLED_WITHIN_S = 1.0
RECORD_AFTER_S = 0.1  # a job that ends earlier never has the record that RQ's tools look for

RecentStarts = Callable[[], Awaitable[Mapping[str, float]]]

log = structlog.get_logger()


class SlotWorker:
    """Runs the jobs of one queue on `slots`. `functions` is the allowlist: name -> coroutine.

    Jobs with an id that begins with `hint_prefix` are hints: a hint whose worker has died is deleted,
    and another job fails. When a function raises one of `not_begun`, its job goes back to the head of
    the queue, and the worker claims no other job until `store_answers` returns True.
    `recent_starts` returns job ids and ages in seconds for a shared window that Redis has lost.

    A started job is protected for `job_lease_s` after its worker stops renewing. An idle worker waits
    for a job for `idle_block_s`, and a busy one calls Redis every `call_interval_s`; both bound how
    late it sees `stop`.
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
        not_begun: tuple[type[Exception], ...] = (),
        store_answers: Callable[[], Awaitable[bool]] | None = None,
        recent_starts: RecentStarts | None = None,
        job_lease_s: int = JOB_LEASE_S,
        idle_block_s: float = IDLE_BLOCK_S,
        call_interval_s: float = CALL_INTERVAL_S,
    ) -> None:
        self.registration = RqRegistration(
            queue, client=client, functions=functions, lease_s=job_lease_s
        )
        self.slots = slots
        self.last_claim: ClaimedJobs | None = None
        self._window = window
        self._jobs = JobQueue(
            queue,
            client=client,
            functions=functions,
            window=window,
            worker=self.registration.keys,
            hint_prefix=hint_prefix,
            lease_s=job_lease_s,
        )
        metrics.SLOTS.labels(queue=queue).set(slots.count)
        self._maintenance = Maintenance(self.registration, self._jobs)
        self._not_begun = not_begun
        self._retried: tuple[type[Exception], ...] = (*not_begun, redis.RedisError)
        self._store_answers = store_answers
        self._recent_starts = recent_starts
        self._idle_block_s = idle_block_s
        self._call_interval_s = call_interval_s
        self._job_seconds = metrics.JOB_SECONDS.labels(queue=queue)
        self._succeeded = metrics.JOBS_FINISHED.labels(queue=queue, outcome="succeeded")
        self._failed = metrics.JOBS_FINISHED.labels(queue=queue, outcome="failed")
        self._redis_thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._running = RunningJobs()
        self._unreported = UnreportedResults()
        self._store_is_away = False
        self._redis = RedisState(queue)
        self._beat_every_s = job_lease_s / BEATS_PER_LEASE
        self._next_beat = 0.0

    @property
    def without_redis(self) -> bool:
        """True when all calls have failed for more than 1 s."""
        return self._redis.is_away

    @property
    def redis_is_unusable(self) -> bool:
        """True after a call that failed because of what Redis holds, such as a key of a wrong type.

        Waiting does not help, FLUSHALL does. Redis counts as away until then.
        """
        return self._redis.is_unusable

    async def run(self, stop: asyncio.Event) -> None:
        """Claims and runs jobs until `stop` is set. Call `drain` for the jobs that still run."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._maintenance.run(stop))
            while not stop.is_set():
                await self._turn(stop)

    async def drain(self, *, timeout_s: float) -> None:
        """Waits for running jobs, cancels them after `timeout_s`, and unregisters the worker."""
        leases = asyncio.create_task(self._keep_leases())
        await self._running.end(timeout_s=timeout_s, cancelled_within_s=CANCELLED_WITHIN_S)
        leases.cancel()
        await asyncio.gather(leases, return_exceptions=True)
        await self._unregister()
        self._redis_thread.shutdown()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._call_interval_s)
            self._running.cancel_overdue()
            await self._tried(self._exchange, 0)

    async def _unregister(self) -> None:
        # twice, because the connection may have been closed while the jobs ended
        if not (await self._tried(self._leave) or await self._tried(self._leave)):
            log.warning("worker not unregistered", unwritten=self._unreported.count)

    async def _tried(self, function: Callable[..., Any], *arguments: Any) -> bool:
        try:
            await self._call(function, *arguments)
        except Exception as error:
            self._note_failed_call(error)
            return False
        self._redis.note_success()
        return True

    async def _turn(self, stop: asyncio.Event) -> None:
        """One exchange with Redis: reports ended jobs, and claims jobs for free slots."""
        self._running.cancel_overdue()
        taken = await self._take_slots()
        if stop.is_set():
            self.slots.give_back(taken)
            return
        claim = await self._claim(taken)
        for job in claim.jobs:
            self._start(job)
        self._update_gauges()
        if claim.window_unknown:
            await self._merge_window()
        if self.without_redis:
            await asyncio.sleep(self._call_interval_s)
        elif self.last_claim is None or (taken and claim.tokens_left == 0) or self._store_is_away:
            await asyncio.sleep(min(max(claim.wait_s, PAUSE_MIN_S), self._call_interval_s))

    async def _claim(self, taken: int) -> ClaimedJobs:
        """Claims jobs for the slots taken, and gives back the slots without a job."""
        claim = NOTHING
        try:
            claim = await self._call(self._exchange, taken)
            if taken and claim.is_idle:
                self.slots.give_back(taken - 1)
                taken = 1
                claim = await self._call(self._jobs.wait_for_one, self._idle_block_s)
            if self.without_redis:  # this may have changed during the call
                await self._call(self._window.forget)
            self._redis.note_success()
            self.last_claim = claim
        except Exception as error:  # an unexpected reply must not end the process
            self._note_failed_call(error)
        finally:
            self.slots.give_back(taken - len(claim.jobs))
        return claim

    def _update_gauges(self) -> None:
        self._redis.show()
        metrics.SLOTS_BUSY.labels(queue=self._jobs.queue).set(self.slots.count - self.slots.free)
        metrics.JOBS_UNWRITTEN.labels(queue=self._jobs.queue).set(self._unreported.count)

    def _note_failed_call(self, error: Exception) -> None:
        self._redis.note_failure(error)
        self.last_claim = None

    async def _take_slots(self) -> int:
        """Takes free slots for a claim; 0 for a probe while Redis or the store is away."""
        if self.without_redis:
            return 0
        if self._store_is_away:
            if self._store_answers and not await self._store_answers():
                return 0
            self._store_is_away = False
        taken = await self.slots.take(self.slots.count, timeout_s=self._call_interval_s)
        # Redis or the store may have gone away while this waited
        if self.without_redis or self._store_is_away:
            self.slots.give_back(taken)
            return 0
        return taken

    async def _merge_window(self) -> None:
        try:
            starts = await self._recent_starts() if self._recent_starts else {}
            await self._call(self._window.merge_known_starts, starts)
            log.info("rate window merged with known starts", starts=len(starts))
        except self._retried as error:
            log.warning("rate window not merged, retrying", error=str(error))
            await asyncio.sleep(self._call_interval_s)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._redis_thread, function, *arguments)

    def _exchange(self, slots: int) -> ClaimedJobs:
        now = time.monotonic()
        if self._redis.failing_since is not None:
            self._jobs.requeue_unanswered_claims()
        with suppress(redis.exceptions.OutOfMemoryError):  # the claim below frees memory
            if now >= self._next_beat:
                running = self._running.jobs
                self.registration.beat(running, busy=bool(running))
                self._next_beat = now + self._beat_every_s
            self._settle()
        ended = list(self._unreported.ended)
        unrecorded = self._unreported.unrecorded(claimed_before=now - RECORD_AFTER_S)
        claim = self._jobs.claim(slots, ended=ended, unrecorded=unrecorded)
        self._unreported.for_rq += [each for each in ended if each.job.id in claim.left]
        del self._unreported.ended[: len(ended)]
        self._unreported.note_recorded(unrecorded)
        return claim

    def _leave(self) -> None:
        self._exchange(0)
        self._settle()
        self.registration.register_death()  # type: ignore[no-untyped-call]  # untyped in rq

    def _settle(self) -> None:
        """Writes the results that a claim call does not write."""
        while self._unreported.for_rq:
            self.registration.finish_as_rq(self._unreported.for_rq[0])
            del self._unreported.for_rq[0]
        if refused := list(self._unreported.refused):
            self._jobs.put_back(refused)
            metrics.JOBS_RETURNED.labels(queue=self._jobs.queue).inc(len(refused))
            del self._unreported.refused[: len(refused)]

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
            reason = str(cancelled)
            error = TimeoutError(reason) if reason else JobRefused("the worker stopped")
            log.warning("job cancelled", job_id=repr(job.id), reason=str(error))
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
            raise JobRefused("the job names no allowed function")
        return await job.function(*job.arguments, **job.keywords)

    def _end(self, ended: EndedJob) -> None:
        (self._failed if ended.error else self._succeeded).inc()
        self._unreported.end(ended)
