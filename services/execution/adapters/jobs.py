"""Jobs of one RQ queue, claimed and ended in bulk: one Lua call each way, on RQ's own keys."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue
from rq.registry import (
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from execution import metrics
from execution.adapters.job_data import CALL_BYTES_MAX, call_in, moment_in
from execution.adapters.queues import FAILURE_TTL_S, JOB_TIMEOUT_S, QUEUES_KEY
from execution.adapters.rate_window import WINDOW_S, OwnRoom, RateWindow
from execution.adapters.scripts import lua

JobFunction = Callable[..., Awaitable[object]]

LEASE_S = 20
WAIT_MAX_S = 86_400.0  # what a forged moment adds at most to the sum of all waits
LOOKS_MAX = 1_000  # entries that are no jobs, dropped by one claim

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job in one of our slots. `function` is None where it names no allowed one.

    A plain job has neither result, callback, dependent, repeat nor rate limit of RQ's: nothing but
    its own keys is touched when it ends. `started_at` is by the clock of the process's own starts.
    """

    id: bytes
    execution: bytes
    function: JobFunction | None
    arguments: list[Any]
    keywords: dict[str, Any]
    timeout_s: float
    plain: bool
    started_at: float

    @property
    def member(self) -> bytes:
        """Its name in the started registry."""
        return self.id + b":" + self.execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one claim call brought. `head` is when the queue's oldest job came, in Unix seconds."""

    jobs: Sequence[StartedJob]
    suspended: bool = False
    window_unknown: bool = False
    room: int = 0
    wait_s: float = 0.0
    head: float | None = None
    empty: bool = False

    @property
    def is_idle(self) -> bool:
        """True where jobs may start and there is none."""
        return not self.jobs and self.room > 0


NOTHING = Claim(jobs=())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    job: StartedJob
    result: Any = None
    error: Exception | None = None


class Jobs:
    """The queue as one worker sees it. Every call may raise redis.RedisError."""

    def __init__(
        self,
        queue: str,
        *,
        client: redis.Redis,
        functions: Mapping[str, JobFunction],
        window: RateWindow,
        worker_name: str,
        worker_key: str,
        executions_key: str,
        stale_after_s: float,
        hint_prefix: str,
    ) -> None:
        self.queue = queue
        self.key = Queue.redis_queue_namespace_prefix + queue
        self.started_key = StartedJobRegistry(queue, connection=client).key
        self.intermediate_key = IntermediateQueue.get_intermediate_queue_key(self.key)
        self.failed_key = FailedJobRegistry(queue, connection=client).key
        self._executions_key = executions_key
        self.quarantine_key = f"{RQ_KEY_PREFIX}:quarantine:{queue}"
        self._probe_key = f"{RQ_KEY_PREFIX}:probe:{queue}"
        self.first_seen_key = f"{RQ_KEY_PREFIX}:first-seen:{queue}"
        self._stale_after_s = stale_after_s
        self.hint_prefix = hint_prefix
        self._worker_name = worker_name
        self._worker_key = worker_key
        self._client = client
        self._functions = functions
        self._window = window
        self._wait_seconds = metrics.JOB_WAIT_SECONDS.labels(queue=queue)
        self._claim = client.register_script(lua("claim"))
        self._finish = client.register_script(lua("finish"))
        self._give_back = client.register_script(lua("give_back"))
        self._mend = client.register_script(lua("mend"))
        registries = (FinishedJobRegistry, DeferredJobRegistry, ScheduledJobRegistry)
        self._types = {
            **{registry(queue, connection=client).key: "zset" for registry in registries},
            **dict.fromkeys((self.started_key, self.failed_key, self.quarantine_key), "zset"),
            **dict.fromkeys((self.first_seen_key, window.key), "zset"),
            **dict.fromkeys((self.key, self.intermediate_key), "list"),
            **dict.fromkeys((executions_key, QUEUES_KEY, REDIS_WORKER_KEYS), "set"),
            WORKERS_BY_QUEUE_KEY % queue: "set",
            worker_key: "hash",
        }

    def claim(self, places: int, *, held: bytes | str = "") -> Claim:
        """Starts up to `places` jobs, `held` from the intermediate list first."""
        own, started = self._window.reserve_own(places), 0
        try:
            answer = self._claim_with(own, held)
            started = (len(answer) - 6) // 6
        finally:
            started_at = self._window.settle_own(own, started=started)
        state, room, wait_s, watermark, quarantined, stale = answer[:6]
        jobs = [self._job(started_at, *answer[at : at + 6]) for at in range(6, len(answer), 6)]
        metrics.JOBS_STARTED.labels(queue=self.queue).inc(len(jobs))
        metrics.JOBS_QUARANTINED.labels(queue=self.queue).inc(quarantined)
        metrics.JOBS_STALE.labels(queue=self.queue).inc(stale)
        return Claim(
            jobs=jobs,
            suspended=state == b"suspended",
            window_unknown=state == b"window_unknown",
            room=room,
            wait_s=float(wait_s),
            head=moment_in(watermark),
            empty=watermark == b"empty",
        )

    def _claim_with(self, own: OwnRoom, held: bytes | str) -> list[Any]:
        answer: list[Any] = self._claim(
            keys=[
                self.key,
                self.intermediate_key,
                self.started_key,
                self._window.key,
                self.quarantine_key,
                WORKERS_SUSPENDED,
                self._executions_key,
                self._probe_key,
                self._window.marker_key,
            ],
            args=[
                own.reserved,
                self._window.limit,
                WINDOW_S,
                LEASE_S,
                uuid.uuid4().hex,
                self._worker_name,
                held,
                utcformat(now()),
                RQ_KEY_PREFIX,
                self._stale_after_s,
                self.hint_prefix,
                own.room,
                own.wait_s,
                CALL_BYTES_MAX,
                LOOKS_MAX,
            ],
        )
        return answer

    def _job(
        self,
        started_at: float,
        id_: bytes,
        execution: bytes,
        data: bytes,
        enqueued_at: bytes,
        timeout: bytes,
        plain: int,
    ) -> StartedJob:
        name, arguments, keywords = call_in(data)
        if (came := moment_in(enqueued_at)) is not None:
            waited_s = now().timestamp() - came
            self._wait_seconds.observe(min(max(waited_s, 0.0), WAIT_MAX_S))
        return StartedJob(
            id=id_,
            execution=execution,
            function=self._functions.get(name),
            arguments=arguments,
            keywords=keywords,
            timeout_s=float(timeout) if timeout.isdigit() else JOB_TIMEOUT_S,
            plain=bool(plain),
            started_at=started_at,
        )

    def wait_for_one(self, timeout_s: float) -> Claim:
        """Waits for a job, for at most `timeout_s`, and starts it; holds no token meanwhile."""
        held = self._client.blmove(
            self.key,
            self.intermediate_key,
            timeout_s,  # type: ignore[arg-type]  # redis takes fractions of a second
            "LEFT",
            "RIGHT",
        )
        try:
            return self.claim(1, held=held or "")
        except redis.ResponseError:  # else the job would stand between the lists until it is swept
            self.mend()
            return self.claim(1, held=held or "")

    def finish(self, batch: Sequence[EndedJob]) -> set[bytes]:
        """Deletes plain jobs that succeeded and keeps failed ones for a while.

        Returns the ids of those that have got dependents since, and are left to RQ's own path.
        """
        arguments: list[Any] = [RQ_KEY_PREFIX, utcformat(now()), FAILURE_TTL_S]
        for ended in batch:
            outcome = "succeeded" if ended.error is None else "failed"
            arguments += [ended.job.id, ended.job.execution, outcome]
        keys = [self.started_key, self.failed_key, self._executions_key, self._worker_key]
        return set(self._finish(keys=keys, args=arguments))

    def give_back(self, jobs: Sequence[StartedJob]) -> None:
        """Puts jobs that could not be begun back at the head, with their tokens."""
        arguments: list[Any] = [RQ_KEY_PREFIX]
        for job in jobs:
            token = job.id if job.id.startswith(self.hint_prefix.encode()) else job.member
            arguments += [job.id, job.execution, token]
        keys = [self.key, self.started_key, self._window.key, self._executions_key]
        refunded = self._give_back(keys=keys, args=arguments)
        self._window.refund_own([job.started_at for job in jobs])
        metrics.TOKENS_REFUNDED.labels(reason="job_not_begun").inc(refunded)

    def mend(self) -> None:
        """Deletes keys of another type than ours, which would fail every call that meets them."""
        if mended := self._mend(keys=list(self._types), args=list(self._types.values())):
            log.warning("keys of a wrong type deleted", queue=self.queue, keys=repr(mended))
        if self._window.key.encode() in mended:
            self._window.forget()
