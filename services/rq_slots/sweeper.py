"""Finds, deletes and quarantines abandoned jobs of a queue, in bulk, by Lua."""

from collections.abc import Sequence
from dataclasses import dataclass

import redis
from rq.defaults import RQ_KEY_PREFIX

from rq_slots import metrics
from rq_slots.job_queue import JobQueue
from rq_slots.scripts import lua

SWEEP_PATIENCE_S = 30
SWEEP_MAX = 500  # entries of one key in one call
SWEEP_CALLS_MAX = 20
STUCK_PATIENCE_S = 60
ABANDONED_MAX = 100
QUARANTINE_S = 86_400
QUARANTINE_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Abandoned jobs that are not hints, for RQ's maintenance to end one by one.

    `executions` are members of the started registry, with leases that now end at 1, 2, 3 ... in Unix
    seconds. `stuck` ids are in the intermediate list. When `is_all` is False there may be more.
    """

    executions: Sequence[bytes]
    stuck: Sequence[bytes]
    is_all: bool


class Sweeper:
    """Cleans one queue. Every call may raise redis.RedisError."""

    def __init__(self, jobs: JobQueue, *, client: redis.Redis) -> None:
        self._jobs = jobs
        self._client = client
        self._sweep = client.register_script(lua("sweep"))
        self._sweep_from = [0, 0, 0, 0]  # started, failed, quarantine, intermediate
        self._find_abandoned = client.register_script(lua("abandoned"))

    def sweep(self) -> None:
        """Deletes abandoned hints, and jobs that have been in quarantine for a day.

        Reads at most SWEEP_CALLS_MAX pages of each key; the next call continues from there.
        """
        keys = [
            self._jobs.keys.started,
            self._jobs.keys.failed,
            self._jobs.keys.quarantine,
            self._jobs.keys.intermediate,
            self._jobs.keys.first_seen,
        ]
        bounds = [SWEEP_PATIENCE_S, SWEEP_MAX, QUARANTINE_S, QUARANTINE_MAX]
        for _ in range(SWEEP_CALLS_MAX):
            deleted, purged, *self._sweep_from = self._sweep(
                keys=keys, args=[RQ_KEY_PREFIX, self._jobs.hint_prefix, *bounds, *self._sweep_from]
            )
            metrics.JOBS_SWEPT.labels(queue=self._jobs.queue).inc(deleted)
            metrics.JOBS_EXPELLED.labels(queue=self._jobs.queue).inc(purged)
            if not any(self._sweep_from):
                return

    def abandoned(self) -> Abandoned:
        """Finds up to ABANDONED_MAX jobs of each kind, and quarantines members that name no job."""
        members, stuck, quarantined, may_be_more = self._find_abandoned(
            keys=[
                self._jobs.keys.started,
                self._jobs.keys.intermediate,
                self._jobs.keys.quarantine,
                self._jobs.keys.first_seen,
            ],
            args=[self._jobs.hint_prefix, ABANDONED_MAX, STUCK_PATIENCE_S],
        )
        metrics.JOBS_QUARANTINED.labels(queue=self._jobs.queue).inc(quarantined)
        return Abandoned(executions=members, stuck=stuck, is_all=not may_be_more)

    def drop_stuck(self, job_id: bytes) -> None:
        """Removes a job from the intermediate list."""
        self._client.lrem(self._jobs.keys.intermediate, 1, job_id)  # type: ignore[arg-type]  # takes bytes

    def quarantine(self, entry: bytes, *, key: str) -> None:
        """Moves an entry of the intermediate list or of a registry, given by its key, to quarantine."""
        seconds, _ = self._client.time()
        with self._client.pipeline(transaction=True) as pipeline:
            if key == self._jobs.keys.intermediate:
                pipeline.lrem(key, 1, entry)  # type: ignore[arg-type]  # takes bytes
            else:
                pipeline.zrem(key, entry)
            pipeline.zadd(self._jobs.keys.quarantine, {entry.partition(b":")[0]: seconds})
            pipeline.execute()
        metrics.JOBS_QUARANTINED.labels(queue=self._jobs.queue).inc()
