"""Periodic cleaning of a queue's keys: sweeps of hints, and RQ's maintenance for other jobs.

It runs on its own thread, with its own connection, so that it never delays claims and heartbeats.
RQ ends abandoned jobs in one batch, which one malformed job makes fail each time. This module ends
each job separately, and moves a job that RQ cannot end to quarantine.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimitRegistry
from rq.registry import (
    BaseRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ReadyJobRegistry,
    StartedJobRegistry,
)
from rq.worker_registration import clean_worker_registry

from rq_slots import metrics
from rq_slots.allowlist import UnreadableJob
from rq_slots.job_queue import JobQueue
from rq_slots.registration import OUTAGE, RqRegistration
from rq_slots.sweeper import Sweeper

EVERY_S = 10.0
LOCK_S = 30  # RQ's own lock stays for 899 s when its worker dies
READY_MAX = 1_000
ROUND_MAX_S = 20.0  # below LOCK_S

log = structlog.get_logger()


class Maintenance:
    """Maintains one queue on behalf of one of its workers."""

    def __init__(self, registration: RqRegistration, jobs: JobQueue) -> None:
        self._registration = registration
        self._queue = registration.queues[0]
        self._jobs = jobs
        self._sweeper = Sweeper(jobs, client=registration.connection)

    async def run(self, stop: asyncio.Event) -> None:
        """Does a round every 10 s until `stop` is set, and at least one."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="maintenance")
        try:
            while True:
                await loop.run_in_executor(thread, self._round, stop.is_set)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), EVERY_S)
                if stop.is_set():
                    return
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def _round(self, is_stopping: Callable[[], bool]) -> None:
        try:
            self._sweeper.sweep()
            if self._takes_lock():
                self._maintain_as_rq(is_stopping)
        except Exception as error:  # no content of Redis may end the process
            known = isinstance(error, OUTAGE)
            metrics.REDIS_CALLS_FAILED.labels(queue=self._queue.name).inc()
            log.warning(
                "maintenance failed, retrying",
                error=str(error),
                exc_info=None if known else error,
            )

    def _takes_lock(self) -> bool:
        """True for one worker of the queue at a time."""
        lock = f"{RQ_KEY_PREFIX}:maintenance:{self._queue.name}"
        return bool(
            self._registration.connection.set(lock, self._registration.name, nx=True, ex=LOCK_S)
        )

    def _maintain_as_rq(self, is_stopping: Callable[[], bool]) -> None:
        """Does what rq.registry.clean_registries and IntermediateQueue.cleanup do, in separate steps."""
        ends_at = time.monotonic() + ROUND_MAX_S
        while not self._end_abandoned():
            if is_stopping() or time.monotonic() > ends_at:
                break
        steps: list[Callable[[], Any]] = [
            self._registry(FinishedJobRegistry).cleanup,
            self._registry(FailedJobRegistry).cleanup,
            self._enqueue_ready,
            self._clean_rate_limits,
            lambda: clean_worker_registry(self._queue),
        ]
        for step in steps:
            try:
                step()
            except OUTAGE:
                raise
            except Exception:
                log.exception("maintenance step failed", queue=self._queue.name)

    def _end_abandoned(self) -> bool:
        """Ends some jobs whose worker died. Returns False when there may be more."""
        abandoned = self._sweeper.abandoned()
        self._end_each(abandoned.executions, self._jobs.keys.started, self._end_execution)
        self._end_each(abandoned.stuck, self._jobs.keys.intermediate, self._end_stuck)
        return abandoned.is_all

    def _enqueue_ready(self) -> None:
        """Enqueues jobs that are ready, but whose producer died before it enqueued them."""
        ready = self._registry(ReadyJobRegistry)
        entries: list[Any] = self._registration.connection.zrange(ready.key, 0, READY_MAX - 1)
        self._end_each(entries, ready.key, lambda entry, _: ready.enqueue_jobs([entry.decode()]))

    def _end_each(
        self, entries: Sequence[bytes], key: str, end: Callable[[bytes, int], object]
    ) -> None:
        """Calls `end` with each entry and its number. Entries for which it fails go to quarantine."""
        for number, entry in enumerate(entries, start=1):
            try:
                end(entry, number)
            except OUTAGE:
                raise
            except Exception as error:
                self._sweeper.quarantine(entry, key=key)
                log.warning(
                    "job moved to quarantine", entry=repr(entry), key=key, error=repr(error)
                )

    def _end_execution(self, member: bytes, number: int) -> None:
        self._fetched(member.partition(b":")[0])
        self._registry(StartedJobRegistry).cleanup(number)

    def _end_stuck(self, job_id: bytes, _: int) -> None:
        """Fails a job that was popped and never started. Removes the entry of any other job."""
        job = self._fetched(job_id)
        if job is not None and job.get_status(refresh=False) == JobStatus.QUEUED:
            self._registration.handle_job_failure(
                job, self._queue, exc_string="Job was stuck in intermediate queue."
            )
        self._sweeper.drop_stuck(job_id)

    def _fetched(self, job_id: bytes) -> Job | None:
        """The job, or None when it does not exist. Raises UnreadableJob when its key holds no job."""
        try:
            return self._registration.job_class.fetch(
                job_id.decode(),
                connection=self._registration.connection,
                serializer=self._registration.serializer,
            )
        except UnreadableJob:
            raise
        except NoSuchJobError:
            return None

    def _registry(self, kind: type[BaseRegistry]) -> Any:
        return kind(
            queue=self._queue,
            job_class=self._registration.job_class,
            death_penalty_class=self._registration.death_penalty_class,
        )

    def _clean_rate_limits(self) -> None:
        for each in RateLimitRegistry.all(self._registration.connection):
            each.cleanup()
