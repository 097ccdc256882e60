"""The concurrent RQ worker: N asyncio slots in one process on RQ's own keys, with batched Redis I/O.

One Lua call claims as many jobs as there are free slots and the rate window allows; one more ends
those that have run. A job is always in exactly one of: the list, the intermediate list (only while
a process that waits idle hands it to the claim script), the started registry, the quarantine. So
`rq info`, `rq suspend` and a stock producer work as with a stock worker.

A slot is taken before a job is asked for, and a token together with it, so that no job waits
half-claimed. Redis may fail at any call: jobs in hand run on, what they ended is kept in memory
until it is written, and after a second without one success the worker says so by `without_redis`.
"""

import asyncio
import json
import os
import socket
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.intermediate_queue import IntermediateQueue
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat
from rq.worker import BaseWorker
from rq.worker.base import WorkerStatus

from execution import metrics
from execution.adapters.queues import FAILURE_TTL_S
from execution.adapters.rate_window import WINDOW_S, RateWindow, lua
from execution.adapters.slots import Slots

JobFunction = Callable[..., Awaitable[None]]

IDLE_BLOCK_S = 0.5
CALL_EVERY_S = 0.5
OUTAGE_AFTER_S = 1.0
LEASE_S = 20
BEAT_S = 5.0
WORKER_TTL_S = 30
FINISH_BATCH_MAX = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job in one of our slots. `arguments` is None where the hash names no allowed function."""

    id: str
    execution: str
    function: JobFunction | None
    arguments: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one claim call brought. `head` is the age of the queue's head, in Unix seconds."""

    jobs: list[StartedJob]
    suspended: bool = False
    room: int = 0
    wait_s: float = 0.0
    head: float | None = None
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    job: StartedJob
    failed: bool


class SlotWorker(BaseWorker):
    """Runs the jobs of one queue on `slots`. `functions` is the allowlist: name -> coroutine."""

    def __init__(
        self,
        queue: str,
        *,
        client: redis.Redis,
        functions: Mapping[str, JobFunction],
        slots: Slots,
        window: RateWindow,
    ) -> None:
        super().__init__(
            [queue],
            name=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            prepare_for_work=False,
        )
        self.hostname, self.pid = socket.gethostname(), os.getpid()
        self.slots = slots
        self.window = window
        self.head: Claim | None = None
        self._functions = functions
        self._queue = self.queues[0]
        self._intermediate = IntermediateQueue.get_intermediate_queue_key(self._queue.key)
        self._started_key = StartedJobRegistry(queue, connection=client).key
        self._failed_key = FailedJobRegistry(queue, connection=client).key
        self._claim_script = client.register_script(lua("claim"))
        self._finish_script = client.register_script(lua("finish"))
        self._redis_thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._running: dict[asyncio.Task[None], StartedJob] = {}
        self._ended: list[_Ended] = []
        self._last_success = time.monotonic()
        self._next_beat = 0.0
        self._stopping = False

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        return connection  # RQ would stretch the socket timeout to 415 s

    @property
    def without_redis(self) -> bool:
        """True once every call of the last second has failed."""
        return time.monotonic() - self._last_success > OUTAGE_AFTER_S

    async def run(self, stop: asyncio.Event) -> None:
        """Claims and runs jobs until `stop` is set; returns with none running that it can wait for."""
        watcher = asyncio.create_task(self._watch(stop))
        try:
            while not stop.is_set():
                await self._turn()
        finally:
            watcher.cancel()

    async def drain(self, *, timeout_s: float) -> None:
        """Waits for running jobs, cancels those that outlast `timeout_s`, and signs off."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._call(self._finish)
            await self._call(self.register_death)
        except redis.RedisError as error:
            log.warning("could not sign off from redis", error=str(error))
        self._redis_thread.shutdown()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True

    async def _turn(self) -> None:
        """One exchange with Redis: beat, end what has run, claim what there is room for."""
        without = self.without_redis
        metrics.WITHOUT_REDIS.labels(queue=self._queue.name).set(without)
        # while Redis is away a probe asks for nothing, so that it holds no slot
        places = 0 if without else await self.slots.take(self.slots.count, timeout_s=CALL_EVERY_S)
        kept = 0
        try:
            claim = await self._call(self._exchange, places)
            if (
                places
                and not claim.jobs
                and claim.room
                and not claim.suspended
                and not self._stopping
            ):
                self.slots.give_back(places - 1)
                places = 1
                claim = await self._call(self._wait_for_one)
            kept = len(claim.jobs)
            self._last_success = time.monotonic()
            self.head = claim
        except redis.RedisError as error:
            log.warning("redis call failed", error=str(error), without_redis=without)
            self.head = None
            claim = Claim(jobs=[])
        finally:
            self.slots.give_back(places - kept)
        for job in claim.jobs:
            self._start(job)
        metrics.SLOTS_BUSY.labels(queue=self._queue.name).set(self.slots.count - self.slots.free)
        if (claim.room == 0 and places) or claim.suspended or self.head is None:
            await asyncio.sleep(min(max(claim.wait_s, 0.05), CALL_EVERY_S))

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._redis_thread, function, *arguments)

    # On the Redis thread

    def _exchange(self, places: int) -> Claim:
        self._beat()
        self._finish()
        return self._claim(places)

    def _wait_for_one(self) -> Claim:
        held = self.connection.blmove(
            self._queue.key,
            self._intermediate,
            IDLE_BLOCK_S,  # type: ignore[arg-type]  # redis takes fractions of a second
            "LEFT",
            "RIGHT",
        )
        return self._claim(1, held=held or "")

    def _claim(self, places: int, *, held: bytes | str = "") -> Claim:
        answer = self._claim_script(
            keys=[
                self._queue.key,
                self._intermediate,
                self._started_key,
                self.window.key,
                f"{RQ_KEY_PREFIX}:quarantine:{self._queue.name}",
                WORKERS_SUSPENDED,
                self.executions_key,
            ],
            args=[
                places,
                self.window.limit,
                WINDOW_S,
                LEASE_S,
                uuid.uuid4().hex,
                self.name,
                held,
                utcformat(now()),
                RQ_KEY_PREFIX,
            ],
        )
        state, room, wait_s, watermark = answer[:4]
        jobs = [self._job(*answer[at : at + 4]) for at in range(4, len(answer), 4)]
        self.window.note_own_starts(len(jobs))
        metrics.JOBS_STARTED.labels(queue=self._queue.name).inc(len(jobs))
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
        if enqueued_at:
            waited = now() - datetime.fromisoformat(enqueued_at.decode())
            metrics.JOB_WAIT_SECONDS.labels(queue=self._queue.name).observe(waited.total_seconds())
        return StartedJob(
            id=id_.decode(),
            execution=execution.decode(),
            function=self._functions.get(name),
            arguments=arguments,
        )

    def _beat(self) -> None:
        """Says that this worker and the jobs in its slots are alive; signs on after a FLUSHALL."""
        if time.monotonic() < self._next_beat:
            return
        if not self.connection.exists(self.key):
            self.ip_address = str(self.connection.client_info()["addr"])
            self.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
        expires_at = time.time() + LEASE_S
        with self.connection.pipeline(transaction=False) as pipeline:
            self.heartbeat(pipeline=pipeline)
            state = WorkerStatus.BUSY if self._running else WorkerStatus.IDLE
            pipeline.hset(self.key, "state", state.value)
            for job in list(self._running.values()):
                member = f"{job.id}:{job.execution}"
                pipeline.zadd(self._started_key, {member: expires_at}, xx=True)
                pipeline.expire(f"{RQ_KEY_PREFIX}:execution:{member}", LEASE_S)
            pipeline.llen(self._queue.key)
            metrics.QUEUE_DEPTH.labels(queue=self._queue.name).set(pipeline.execute()[-1])
        self._next_beat = time.monotonic() + BEAT_S

    def _finish(self) -> None:
        """Writes what has ended; kept in memory until Redis has taken it."""
        while batch := self._ended[:FINISH_BATCH_MAX]:
            arguments: list[Any] = [RQ_KEY_PREFIX, utcformat(now())]
            for ended in batch:
                keep = FAILURE_TTL_S if ended.failed else ""
                arguments += [ended.job.id, ended.job.execution, keep]
            keys = [self._started_key, self._failed_key, self.executions_key, self.key]
            self._finish_script(keys=keys, args=arguments)
            del self._ended[: len(batch)]

    # On the event loop

    def _start(self, job: StartedJob) -> None:
        task = asyncio.create_task(self._perform(job), name=job.id)
        self._running[task] = job
        task.add_done_callback(self._running.pop)

    async def _perform(self, job: StartedJob) -> None:
        failed = True
        try:
            with metrics.JOB_SECONDS.labels(queue=self._queue.name).time():
                if job.function is None:
                    log.error("job refused: it names no allowed function", job_id=job.id)
                else:
                    await job.function(*job.arguments)
                    failed = False
        except Exception:
            log.exception("job failed", job_id=job.id)
        finally:
            outcome = "failed" if failed else "succeeded"
            metrics.JOBS_FINISHED.labels(queue=self._queue.name, outcome=outcome).inc()
            self._ended.append(_Ended(job=job, failed=failed))
            self.slots.give_back(1)


def _call_in(data: bytes) -> tuple[str, list[Any]]:
    """The function name and the arguments in a job's data; ('', []) where it has neither."""
    try:
        name, _, arguments, _ = json.loads(zlib.decompress(data))
        return str(name), list(arguments)
    except (ValueError, TypeError, zlib.error):
        return "", []
