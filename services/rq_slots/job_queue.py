"""Jobs of one RQ queue, ended and claimed in bulk: one Lua call for both, on RQ's own keys."""

import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import redis
from rq.defaults import RQ_KEY_PREFIX
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue
from rq.registry import (
    FailedJobRegistry,
    StartedJobRegistry,
)
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat

from rq_slots import metrics
from rq_slots.enqueue import FAILURE_TTL_S, JOB_TIMEOUT_S
from rq_slots.executions import ClaimedJobs, EndedJob, JobFunction, StartedJob
from rq_slots.job_data import CALL_BYTES_MAX, call_in, moment_in
from rq_slots.rate_window import WINDOW_S, LocalAllowance, RateWindow
from rq_slots.scripts import lua

WAIT_MAX_S = 86_400.0  # what a forged moment adds at most to the sum of all waits
UNANSWERED_MAX = 100
CHECKED_MAX = 1_000  # entries that are no jobs, dropped by one claim


class JobQueue:
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
        lease_s: int,
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
        self._lease_s = lease_s
        self._worker_name = worker_name
        self._worker_key = worker_key
        self._client = client
        self._functions = functions
        self._window = window
        self._unanswered: deque[str] = deque(maxlen=UNANSWERED_MAX)  # claims without a reply
        self._wait_seconds = metrics.JOB_WAIT_SECONDS.labels(queue=queue)
        self._claim = client.register_script(lua("executions", "claim"))
        self._run_put_back = client.register_script(lua("put_back"))

    def claim(
        self,
        places: int,
        *,
        ended: Sequence[EndedJob] = (),
        unrecorded: Sequence[StartedJob] = (),
        held: bytes | str = "",
    ) -> ClaimedJobs:
        """Ends plain jobs, then starts up to `places`, `held` from the intermediate list first.

        Those that succeeded are deleted, and failed ones kept for a while. The `unrecorded` ones run
        on, and get the record by which RQ's tools know of it.
        """
        outcomes = [
            *((each.job, "succeeded" if each.error is None else "failed") for each in ended),
            *((job, "running") for job in unrecorded),
        ]
        own, started = self._window.reserve_local(places), []
        claim_id = uuid.uuid4().hex
        self._unanswered.append(claim_id)
        try:
            answer = self._claim_with(claim_id, own, outcomes, held)
            self._unanswered.remove(claim_id)
            left, state, room, wait_s, watermark, quarantined, stale, started = answer
        finally:
            started_at = self._window.settle_local(own, started=len(started))
        moment = now().timestamp()
        jobs = [self._job(started_at, moment, *fields) for fields in started]
        metrics.JOBS_STARTED.labels(queue=self.queue).inc(len(jobs))
        metrics.JOBS_QUARANTINED.labels(queue=self.queue).inc(quarantined)
        metrics.JOBS_STALE.labels(queue=self.queue).inc(stale)
        return ClaimedJobs(
            jobs=jobs,
            left=frozenset(left),
            suspended=state == b"suspended",
            window_unknown=state == b"window_unknown",
            room=room,
            wait_s=float(wait_s),
            head=moment_in(watermark),
            empty=watermark == b"empty",
        )

    def _claim_with(
        self,
        claim_id: str,
        own: LocalAllowance,
        outcomes: Iterable[tuple[StartedJob, str]],
        held: bytes | str,
    ) -> list[Any]:
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
                self.failed_key,
                self._worker_key,
            ],
            args=[
                own.reserved,
                self._window.limit,
                WINDOW_S,
                self._lease_s,
                claim_id,
                self._worker_name,
                held,
                utcformat(now()),
                RQ_KEY_PREFIX,
                self._stale_after_s,
                self.hint_prefix,
                own.room,
                own.wait_s,
                CALL_BYTES_MAX,
                CHECKED_MAX,
                FAILURE_TTL_S,
                *(word for job, outcome in outcomes for word in (job.id, job.execution, outcome)),
            ],
        )
        return answer

    def _job(
        self,
        started_at: float,
        moment: float,
        id_: bytes,
        execution: bytes,
        data: bytes,
        enqueued_at: bytes,
        timeout: bytes,
        plain: int,
    ) -> StartedJob:
        name, arguments, keywords = call_in(data)
        if (came := moment_in(enqueued_at)) is not None:
            self._wait_seconds.observe(min(max(moment - came, 0.0), WAIT_MAX_S))
        return StartedJob(
            id=id_,
            execution=execution,
            function=self._functions.get(name),
            arguments=arguments,
            keywords=keywords,
            timeout_s=float(timeout) if timeout.isdigit() else JOB_TIMEOUT_S,
            plain=bool(plain),
            claimed_at=time.monotonic(),
            started_at=started_at,
        )

    def wait_for_one(self, timeout_s: float) -> ClaimedJobs:
        """Waits for a job, for at most `timeout_s`, and starts it; holds no token meanwhile."""
        held = self._client.blmove(
            self.key,
            self.intermediate_key,
            timeout_s,  # type: ignore[arg-type]  # redis takes fractions of a second
            "LEFT",
            "RIGHT",
        )
        return self.claim(1, held=held or "")

    def put_back(self, jobs: Sequence[StartedJob]) -> None:
        """Puts jobs that could not be begun back at the head, with their tokens."""
        refunded = self._put_back([job.member for job in jobs])
        self._window.refund_local([job.started_at for job in jobs])
        metrics.TOKENS_REFUNDED.labels(reason="job_not_begun").inc(refunded)

    def requeue_unanswered_claims(self) -> None:
        """Puts back what claims have started whose reply was lost.

        A claim that Redis carries out only after this is found when its lease has run out.
        """
        if not self._unanswered:
            return
        started: Set[Any] = self._client.smembers(self._executions_key)
        lost = [member for member in started if _claim_of(member) in self._unanswered]
        if lost:
            refunded = self._put_back(sorted(lost, key=_place_in_claim), is_unanswered=True)
            metrics.TOKENS_REFUNDED.labels(reason="claim_not_learned").inc(refunded)
            metrics.JOBS_RECALLED.labels(queue=self.queue).inc(len(lost))
        self._unanswered.clear()

    def _put_back(self, members: Sequence[bytes], *, is_unanswered: bool = False) -> int:
        # of what nobody has run or beaten for, the lease tells the moment of the token
        arguments: list[Any] = [RQ_KEY_PREFIX, self._lease_s if is_unanswered else 0]
        for member in members:
            job_id, _, execution = member.rpartition(b":")
            token = job_id if job_id.startswith(self.hint_prefix.encode()) else member
            arguments += [job_id, execution, token]
        keys = [self.key, self.started_key, self._window.key, self._executions_key]
        return int(self._run_put_back(keys=keys, args=arguments))


def _claim_of(member: bytes) -> str:
    return member.rpartition(b":")[2].rpartition(b"-")[0].decode(errors="replace")


def _place_in_claim(member: bytes) -> tuple[int, bytes]:
    place = member.rpartition(b"-")[2]
    return (int(place) if place.isdigit() else 0, member)
