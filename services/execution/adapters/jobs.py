"""Jobs of one RQ queue, claimed and ended in bulk: one Lua call each way, on RQ's own keys."""

import json
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from rq.defaults import RQ_KEY_PREFIX
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat

from execution import metrics
from execution.adapters.queues import FAILURE_TTL_S
from execution.adapters.rate_window import WINDOW_S, RateWindow, lua

JobFunction = Callable[..., Awaitable[None]]

LEASE_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job in one of our slots. `arguments` is None where the hash names no allowed function."""

    id: bytes
    execution: bytes
    function: JobFunction | None
    arguments: list[Any]

    @property
    def member(self) -> bytes:
        """Its name in the started registry."""
        return self.id + b":" + self.execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one claim call brought. `head` is the age of the queue's head, in Unix seconds."""

    jobs: Sequence[StartedJob]
    suspended: bool = False
    room: int = 0
    wait_s: float = 0.0
    head: float | None = None
    empty: bool = False

    @property
    def is_idle(self) -> bool:
        """True where jobs may start and there is none."""
        return not self.jobs and self.room > 0 and not self.suspended


NOTHING = Claim(jobs=())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    job: StartedJob
    failed: bool


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
    ) -> None:
        self.queue = queue
        self.key = Queue.redis_queue_namespace_prefix + queue
        self.started_key = StartedJobRegistry(queue, connection=client).key
        self._intermediate_key = IntermediateQueue.get_intermediate_queue_key(self.key)
        self._failed_key = FailedJobRegistry(queue, connection=client).key
        self._executions_key = executions_key
        self._worker_name = worker_name
        self._worker_key = worker_key
        self._client = client
        self._functions = functions
        self._window = window
        self._claim = client.register_script(lua("claim"))
        self._finish = client.register_script(lua("finish"))

    def claim(self, places: int, *, held: bytes | str = "") -> Claim:
        """Starts up to `places` jobs, `held` from the intermediate list first."""
        answer = self._claim(
            keys=[
                self.key,
                self._intermediate_key,
                self.started_key,
                self._window.key,
                f"{RQ_KEY_PREFIX}:quarantine:{self.queue}",
                WORKERS_SUSPENDED,
                self._executions_key,
            ],
            args=[
                places,
                self._window.limit,
                WINDOW_S,
                LEASE_S,
                uuid.uuid4().hex,
                self._worker_name,
                held,
                utcformat(now()),
                RQ_KEY_PREFIX,
            ],
        )
        state, room, wait_s, watermark = answer[:4]
        jobs = [self._job(*answer[at : at + 4]) for at in range(4, len(answer), 4)]
        self._window.note_own_starts(len(jobs))
        metrics.JOBS_STARTED.labels(queue=self.queue).inc(len(jobs))
        return Claim(
            jobs=jobs,
            suspended=state == b"suspended",
            room=room,
            wait_s=float(wait_s),
            head=None if watermark in (b"empty", b"unreadable") else float(watermark),
            empty=watermark == b"empty",
        )

    def _job(self, id_: bytes, execution: bytes, data: bytes, enqueued_at: bytes) -> StartedJob:
        name, arguments = _call_in(data)
        with suppress(ValueError):
            waited = now() - datetime.fromisoformat(enqueued_at.decode())
            metrics.JOB_WAIT_SECONDS.labels(queue=self.queue).observe(waited.total_seconds())
        return StartedJob(
            id=id_,
            execution=execution,
            function=self._functions.get(name),
            arguments=arguments,
        )

    def wait_for_one(self, timeout_s: float) -> Claim:
        """Waits for a job, for at most `timeout_s`, and starts it; holds no token meanwhile."""
        held = self._client.blmove(
            self.key,
            self._intermediate_key,
            timeout_s,  # type: ignore[arg-type]  # redis takes fractions of a second
            "LEFT",
            "RIGHT",
        )
        return self.claim(1, held=held or "")

    def finish(self, batch: Sequence[EndedJob]) -> None:
        """Deletes jobs that succeeded and keeps failed ones for a while."""
        arguments: list[Any] = [RQ_KEY_PREFIX, utcformat(now())]
        for ended in batch:
            keep_s = FAILURE_TTL_S if ended.failed else ""
            arguments += [ended.job.id, ended.job.execution, keep_s]
        keys = [self.started_key, self._failed_key, self._executions_key, self._worker_key]
        self._finish(keys=keys, args=arguments)


def _call_in(data: bytes) -> tuple[str, list[Any]]:
    """The function name and the arguments in a job's data; ('', []) where it has neither."""
    try:
        name, _, arguments, _ = json.loads(zlib.decompress(data))
        return str(name), list(arguments)
    except (ValueError, TypeError, zlib.error):
        return "", []
