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
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker
from rq.worker.base import WorkerStatus

from execution import metrics
from execution.adapters.jobs import LEASE_S, NOTHING, Claim, EndedJob, JobFunction, Jobs, StartedJob
from execution.adapters.rate_window import RateWindow
from execution.adapters.slots import Slots

IDLE_BLOCK_S = 0.5
CALL_EVERY_S = 0.5
PAUSE_MIN_S = 0.05
OUTAGE_AFTER_S = 1.0
BEAT_S = 5.0
WORKER_TTL_S = 30
FINISH_BATCH_MAX = 256

log = structlog.get_logger()


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
        self.last_claim: Claim | None = None
        self._jobs = Jobs(
            queue,
            client=client,
            functions=functions,
            window=window,
            worker_name=self.name,
            worker_key=self.key,
            executions_key=self.executions_key,
        )
        self._redis_thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        self._running: dict[asyncio.Task[None], StartedJob] = {}
        self._ended: list[EndedJob] = []
        self._last_success = time.monotonic()
        self._next_beat = 0.0

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        return connection  # RQ would stretch the socket timeout to 415 s

    @property
    def without_redis(self) -> bool:
        """True once every call of the last second has failed."""
        return time.monotonic() - self._last_success > OUTAGE_AFTER_S

    async def run(self, stop: asyncio.Event) -> None:
        """Claims and runs jobs until `stop` is set; those that run then are left to `drain`."""
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
            await self._call(self._finish)
            await self._call(self.register_death)
        except redis.RedisError as error:
            log.warning("could not sign off from redis", error=str(error))
        self._redis_thread.shutdown()

    async def _turn(self, stop: asyncio.Event) -> None:
        """One exchange with Redis: beat, end what has run, claim what there is room for."""
        # a probe while Redis is away asks for nothing, so that it holds no slot
        places = 0 if self.without_redis else await self._take_slots()
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
            self._last_success = time.monotonic()
            self.last_claim = claim
        except redis.RedisError as error:
            log.warning("redis call failed", error=str(error), without_redis=self.without_redis)
            self.last_claim = None
        finally:
            self.slots.give_back(places - len(claim.jobs))
        for job in claim.jobs:
            self._start(job)
        metrics.WITHOUT_REDIS.labels(queue=self._jobs.queue).set(self.without_redis)
        metrics.SLOTS_BUSY.labels(queue=self._jobs.queue).set(self.slots.count - self.slots.free)
        if self.last_claim is None or claim.suspended or (places and claim.room == 0):
            await asyncio.sleep(min(max(claim.wait_s, PAUSE_MIN_S), CALL_EVERY_S))

    async def _take_slots(self) -> int:
        return await self.slots.take(self.slots.count, timeout_s=CALL_EVERY_S)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._redis_thread, function, *arguments)

    # On the Redis thread

    def _exchange(self, places: int) -> Claim:
        self._beat()
        self._finish()
        return self._jobs.claim(places)

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
                pipeline.zadd(self._jobs.started_key, {job.member: expires_at}, xx=True)
                pipeline.expire(f"{RQ_KEY_PREFIX}:execution:".encode() + job.member, LEASE_S)
            pipeline.llen(self._jobs.key)
            metrics.QUEUE_DEPTH.labels(queue=self._jobs.queue).set(pipeline.execute()[-1])
        self._next_beat = time.monotonic() + BEAT_S

    def _finish(self) -> None:
        """Writes what has ended; kept in memory until Redis has taken it."""
        while batch := self._ended[:FINISH_BATCH_MAX]:
            self._jobs.finish(batch)
            del self._ended[: len(batch)]

    # On the event loop

    def _start(self, job: StartedJob) -> None:
        task = asyncio.create_task(self._perform(job), name=repr(job.id))
        self._running[task] = job
        task.add_done_callback(self._running.pop)

    async def _perform(self, job: StartedJob) -> None:
        failed = True
        try:
            with metrics.JOB_SECONDS.labels(queue=self._jobs.queue).time():
                if job.function is None:
                    log.error("job refused: it names no allowed function", job_id=repr(job.id))
                else:
                    await job.function(*job.arguments)
                    failed = False
        except Exception:
            log.exception("job failed", job_id=repr(job.id))
        finally:
            outcome = "failed" if failed else "succeeded"
            metrics.JOBS_FINISHED.labels(queue=self._jobs.queue, outcome=outcome).inc()
            self._ended.append(EndedJob(job=job, failed=failed))
            self.slots.give_back(1)
