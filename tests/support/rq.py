"""A queue with a slot worker, and stock RQ beside it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import redis
from prometheus_client import REGISTRY
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from rq_slots.enqueue import NewJob
from rq_slots.enqueue import enqueue as enqueue_jobs
from rq_slots.executions import JobFunction
from rq_slots.job_queue import JobQueue
from rq_slots.keys import WorkerKeys
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import CALL_INTERVAL_S, JOB_LEASE_S, RecentStarts, SlotWorker

QUEUE = "work"
WORK = "tests.work"
HINT_PREFIX = "job-"
WINDOW = "starts"

AN_HOUR_S = 3600

LIST = f"rq:queue:{QUEUE}"
INTERMEDIATE = f"rq:queue:{QUEUE}:intermediate"
STARTED = f"rq:wip:{QUEUE}"
FAILED = f"rq:failed:{QUEUE}"
FINISHED = f"rq:finished:{QUEUE}"
SCHEDULED = f"rq:scheduled:{QUEUE}"
DEFERRED = f"rq:deferred:{QUEUE}"
QUARANTINE = f"rq:quarantine:{QUEUE}"
FIRST_SEEN = f"rq:first-seen:{QUEUE}"

SETS = {
    "started": STARTED,
    "failed": FAILED,
    "finished": FINISHED,
    "scheduled": SCHEDULED,
    "deferred": DEFERRED,
    "quarantine": QUARANTINE,
}


class NotBegun(Exception):
    """Raised by a job's function that could not begin."""


def redis_at(url: str, *, timeout_s: float = 1.0) -> redis.Redis:
    """A client that bounds each call by `timeout_s` and never repeats one."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def a_hint(n: int, function: str = WORK) -> NewJob:
    return NewJob(
        queue=QUEUE,
        job_id=f"{HINT_PREFIX}{n}",
        function=function,
        arguments=(n,),
        created_at=datetime.fromtimestamp(1_700_000_000 + n, UTC),
        failure_ttl_s=30,
        meta={"created_at": 1_700_000_000.0 + n},
    )


def enqueue(client: redis.Redis, count: int, first: int = 0, function: str = WORK) -> None:
    jobs = [a_hint(n, function) for n in range(first, first + count)]
    enqueue_jobs(client, jobs, now=datetime.fromtimestamp(time.time(), UTC))


def a_worker(
    client: redis.Redis,
    function: JobFunction | None = None,
    *,
    slots: int = 10,
    limit: int = 0,
    functions: Mapping[str, JobFunction] | None = None,
    queue: str = QUEUE,
    hint_prefix: str = HINT_PREFIX,
    store_answers: Callable[[], Awaitable[bool]] | None = None,
    recent_starts: RecentStarts | None = None,
    clock: Callable[[], float] = time.monotonic,
    job_lease_s: int = JOB_LEASE_S,
    idle_block_s: float = 0.05,
    call_interval_s: float = CALL_INTERVAL_S,
) -> SlotWorker:
    """`clock` is the clock of the rate window."""
    window = RateWindow(
        client, key=WINDOW, limit=limit, shared=recent_starts is not None, clock=clock
    )
    return SlotWorker(
        queue,
        client=client,
        functions=functions if functions is not None else {WORK: function or nothing},
        slots=Slots(slots),
        window=window,
        hint_prefix=hint_prefix,
        not_begun=(NotBegun,),
        store_answers=store_answers,
        recent_starts=recent_starts,
        job_lease_s=job_lease_s,
        idle_block_s=idle_block_s,
        call_interval_s=call_interval_s,
    )


@asynccontextmanager
async def running(worker: SlotWorker) -> AsyncIterator[SlotWorker]:
    """Runs the worker until the context ends, then stops it and waits for its jobs."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task
        await worker.drain(timeout_s=5)


@asynccontextmanager
async def working(
    client: redis.Redis, function: JobFunction | None = None, **options: Any
) -> AsyncIterator[SlotWorker]:
    """A running slot worker, made with the options of `a_worker`."""
    async with running(a_worker(client, function, **options)) as worker:
        yield worker


def recorder() -> tuple[list[Any], JobFunction]:
    """A list, and a job function that appends its argument to it."""
    ran: list[Any] = []

    async def note(argument: object) -> None:
        ran.append(argument)

    return ran, note


async def nothing(*_: object) -> None:
    pass


async def until(fact: Callable[[], object], *, timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(fact):
            await asyncio.sleep(0.01)


async def claims_again(worker: SlotWorker) -> None:
    """Returns when the worker has written its results and read the current state of Redis."""
    for _ in range(2):  # the first exchange may have begun before this call
        await until(partial(_has_claimed_since, worker, worker.last_claim))


def _has_claimed_since(worker: SlotWorker, before: object) -> bool:
    return worker.last_claim is not None and worker.last_claim is not before


async def fail(*_: object) -> None:
    raise RuntimeError("as requested")


def keeps_working(
    client: redis.Redis, tamper: Callable[[SlotWorker], object] = lambda _: None, **options: Any
) -> SlotWorker:
    """Runs a worker on this Redis until it has run two more jobs, enqueued after `tamper`."""
    ran, note = recorder()

    def are_enqueued() -> bool:
        try:
            enqueue(client, 2, first=100)
        except redis.ResponseError:  # producers drop a hint that they cannot write
            return False
        return True

    async def work() -> SlotWorker:
        async with working(client, note, **options) as worker:
            await until(lambda: worker.last_claim)
            tamper(worker)
            await until(are_enqueued)
            await until(lambda: {100, 101} <= set(ran))
        return worker

    return asyncio.run(work())


def jobs_of(client: redis.Redis, *, limit: int = 0) -> JobQueue:
    """The queue as a slot worker sees it."""
    return JobQueue(
        QUEUE,
        client=client,
        functions={WORK: nothing},
        window=RateWindow(client, key=WINDOW, limit=limit),
        worker=WorkerKeys(
            name="dead", worker="rq:worker:dead", executions="rq:worker:dead:executions"
        ),
        hint_prefix=HINT_PREFIX,
        lease_s=JOB_LEASE_S,
    )


def claimed_by_a_dead_worker(client: redis.Redis, most: int) -> None:
    """Starts jobs as a slot worker does, and never ends them."""
    jobs_of(client).claim(most)


def scores(client: redis.Redis, key: str) -> list[tuple[bytes, float]]:
    """The members of a sorted set with their scores, the lowest first."""
    found: Any = client.zrange(key, 0, -1, withscores=True)
    return list(found)


def lease_s(client: redis.Redis) -> float:
    """The seconds left of the lease of the only started job."""
    ((_, until),) = scores(client, STARTED)
    seconds, microseconds = client.time()
    return until - seconds - microseconds / 1e6


def expire_leases(client: redis.Redis) -> None:
    """Ends all leases and the lock of the last maintenance."""
    for member, score in scores(client, STARTED):
        client.zadd(STARTED, {member: score - AN_HOUR_S})
    client.delete(f"rq:maintenance:{QUEUE}")


def result_of(client: redis.Redis, job_id: str) -> object:
    return Job.fetch(job_id, connection=client, serializer=JSONSerializer).return_value()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"queue": QUEUE, **labels}) or 0.0


async def add(first: int, second: int) -> int:
    return first + second


def fetched(client: redis.Redis, job_id: str) -> Job:
    return Job.fetch(job_id, connection=client, serializer=JSONSerializer)


def is_finished(client: redis.Redis, job_id: str) -> bool:
    return client.hget(f"rq:job:{job_id}", "status") == b"finished"


def queue_of(client: redis.Redis) -> Queue:
    return Queue(QUEUE, connection=client, serializer=JSONSerializer)


class StockWorker(SimpleWorker):
    """RQ's worker without signal handlers, because pytest's timeout uses SIGALRM.

    It does not listen for commands, so that no thread of it outlives a connection that a test cuts.
    """

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass

    def subscribe(self) -> None:
        pass


def stock_worker(client: redis.Redis, **options: Any) -> StockWorker:
    """RQ's worker on the queue. It changes the timeout of its client, so give it a client of its own."""
    queues = options.pop("queues", [QUEUE])
    return StockWorker(queues, connection=client, serializer=JSONSerializer, **options)


def places(client: redis.Redis, job_id: str) -> list[str]:
    """The keys that hold a job, once for each entry; empty when it has ended or is lost."""
    found: list[str] = []
    for place, key in {"list": LIST, "intermediate": INTERMEDIATE}.items():
        found += [place for entry in client.lrange(key, 0, -1) if entry == job_id.encode()]
    for place, key in SETS.items():
        entries = [entry for entry in client.zrange(key, 0, -1) if isinstance(entry, bytes)]
        found += [place for entry in entries if entry.partition(b":")[0] == job_id.encode()]
    return found
