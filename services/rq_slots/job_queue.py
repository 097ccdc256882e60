"""Jobs of one RQ queue, ended and claimed in bulk: one Lua call for both, on RQ's own keys."""

import json
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import redis
from rq.defaults import RQ_KEY_PREFIX
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat

from rq_slots import metrics
from rq_slots.enqueue import FAILURE_TTL_S, JOB_TIMEOUT_S
from rq_slots.executions import ClaimedJobs, EndedJob, JobFunction, StartedJob
from rq_slots.job_call import CALL_BYTES_MAX, ENTRIES_SKIPPED_MAX, call_in, time_in, waited_s
from rq_slots.keys import QueueKeys, WorkerKeys
from rq_slots.rate_window import WINDOW_S, LocalAllowance, RateWindow
from rq_slots.scripts import lua

UNANSWERED_MAX = 100


class JobQueue:
    """The queue as one worker sees it. Every call may raise redis.RedisError."""

    def __init__(
        self,
        queue: str,
        *,
        client: redis.Redis,
        functions: Mapping[str, JobFunction],
        window: RateWindow,
        worker: WorkerKeys,
        hint_prefix: str,
        lease_s: int,
    ) -> None:
        self.queue = queue
        self.keys = QueueKeys.of(queue)
        self.hint_prefix = hint_prefix
        self._client = client
        self._functions = functions
        self._window = window
        self._worker = worker
        self._lease_s = lease_s
        self._unanswered: deque[str] = deque(maxlen=UNANSWERED_MAX)  # claims without a reply
        self._wait_seconds = metrics.JOB_WAIT_SECONDS.labels(queue=queue)
        self._run_claim = client.register_script(lua("executions", "claim"))
        self._run_put_back = client.register_script(lua("put_back"))
        self._options = {
            "rq_prefix": RQ_KEY_PREFIX,
            "limit": window.limit,
            "window_s": WINDOW_S,
            "lease_s": lease_s,
            "failure_ttl_s": FAILURE_TTL_S,
            "worker_name": worker.name,
            "hint_prefix": hint_prefix,
            "field_bytes_max": CALL_BYTES_MAX,
            "entries_skipped_max": ENTRIES_SKIPPED_MAX,
        }

    def claim(
        self,
        slots: int,
        *,
        ended: Sequence[EndedJob] = (),
        unrecorded: Sequence[StartedJob] = (),
        held: bytes | str = "",
    ) -> ClaimedJobs:
        """Ends plain jobs, then starts up to `slots`, `held` from the intermediate list first.

        Jobs that succeeded are deleted, and failed ones kept for their `failure_ttl`. The
        `unrecorded` jobs still run, and get the record that RQ's tools look for.
        """
        outcomes = [
            *((each.job, "succeeded" if each.error is None else "failed") for each in ended),
            *((job, "running") for job in unrecorded),
        ]
        local = self._window.reserve_local(slots)
        started: list[Any] = []
        claim_id = uuid.uuid4().hex
        self._unanswered.append(claim_id)
        try:
            reply = self._claim_with(claim_id, local, outcomes, held)
            self._unanswered.remove(claim_id)
            started = reply[-1]
        finally:
            started_at = self._window.settle_local(local, started=len(started))
        return self._claimed(reply, started_at)

    def _claim_with(
        self,
        claim_id: str,
        local: LocalAllowance,
        outcomes: Iterable[tuple[StartedJob, str]],
        held: bytes | str,
    ) -> list[Any]:
        options = self._options | {
            "wanted": local.reserved,
            "local_tokens": local.available,
            "local_wait_s": local.wait_s,
            "claim_id": claim_id,
            "now": utcformat(now()),
        }
        keys = self.keys
        reply: list[Any] = self._run_claim(
            keys=[
                *(keys.waiting, keys.intermediate, keys.started, keys.failed, keys.quarantine),
                *(keys.probe, WORKERS_SUSPENDED, self._worker.worker, self._worker.executions),
                *(self._window.key, self._window.marker_key),
            ],
            args=[
                json.dumps(options),
                held,
                *(word for job, outcome in outcomes for word in (job.id, job.execution, outcome)),
            ],
        )
        return reply

    def _claimed(self, reply: Sequence[Any], started_at: float) -> ClaimedJobs:
        left, state, tokens_left, wait_s, watermark, quarantined, started = reply
        at = now().timestamp()
        jobs = [self._job(started_at, at, *fields) for fields in started]
        metrics.JOBS_STARTED.labels(queue=self.queue).inc(len(jobs))
        metrics.JOBS_QUARANTINED.labels(queue=self.queue).inc(quarantined)
        return ClaimedJobs(
            jobs=jobs,
            left=frozenset(left),
            suspended=state == b"suspended",
            window_unknown=state == b"window_unknown",
            tokens_left=tokens_left,
            wait_s=float(wait_s),
            head=time_in(watermark),
            empty=watermark == b"empty",
        )

    def _job(
        self,
        started_at: float,
        at: float,
        id_: bytes,
        execution: bytes,
        data: bytes,
        enqueued_at: bytes,
        timeout: bytes,
        plain: int,
    ) -> StartedJob:
        name, arguments, keywords = call_in(data)
        if (waited := waited_s(enqueued_at, now=at)) is not None:
            self._wait_seconds.observe(waited)
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
        """Waits for a job for at most `timeout_s`, and starts it. Holds no token while it waits."""
        held = self._client.blmove(
            self.keys.waiting,
            self.keys.intermediate,
            timeout_s,  # type: ignore[arg-type]  # redis takes fractions of a second
            "LEFT",
            "RIGHT",
        )
        return (
            ClaimedJobs(jobs=(), tokens_left=1, empty=True)
            if held is None
            else self.claim(1, held=held)
        )

    def put_back(self, jobs: Sequence[StartedJob]) -> None:
        """Puts jobs that could not begin back at the head, with their tokens."""
        refunded = self._put_back([job.member for job in jobs])
        self._window.refund_local([job.started_at for job in jobs])
        metrics.TOKENS_REFUNDED.labels(reason="job_not_begun").inc(refunded)

    def requeue_unanswered_claims(self) -> None:
        """Puts back the jobs of claims whose reply was lost.

        The jobs of a claim that Redis executes after this call wait until their lease ends.
        """
        if not self._unanswered:
            return
        started: Set[Any] = self._client.smembers(self._worker.executions)
        lost = [member for member in started if _claim_of(member) in self._unanswered]
        if lost:
            refunded = self._put_back(sorted(lost, key=_number_in_claim), is_unanswered=True)
            metrics.TOKENS_REFUNDED.labels(reason="claim_not_learned").inc(refunded)
            metrics.JOBS_RECALLED.labels(queue=self.queue).inc(len(lost))
        self._unanswered.clear()

    def _put_back(self, members: Sequence[bytes], *, is_unanswered: bool = False) -> int:
        # the lease of an unanswered claim was never renewed, so it gives the time of the token
        arguments: list[Any] = [RQ_KEY_PREFIX, self._lease_s if is_unanswered else 0]
        for member in members:
            job_id, _, execution = member.rpartition(b":")
            token = job_id if job_id.startswith(self.hint_prefix.encode()) else member
            arguments += [job_id, execution, token]
        keys = self.keys.waiting, self.keys.started, self._window.key, self._worker.executions
        return int(self._run_put_back(keys=keys, args=arguments))


def _claim_of(member: bytes) -> str:
    return member.rpartition(b":")[2].rpartition(b"-")[0].decode(errors="replace")


def _number_in_claim(member: bytes) -> tuple[int, bytes]:
    number = member.rpartition(b"-")[2]
    return (int(number) if number.isdigit() else 0, member)
