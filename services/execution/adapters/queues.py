"""The seven RQ queues: their names, what a job says, and how jobs are written in bulk.

A job is a hint. It carries ids and event data only, and PostgreSQL decides what it is worth, so it
may be lost, come twice or come late. The hashes are RQ's own, written lean: `rq info` lists them
and a stock `rq worker` with the JSON serializer can run them.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus
from rq.queue import Queue
from rq.utils import utcformat

from execution import metrics
from execution.adapters.batching import Batches
from execution.adapters.frames import frame
from execution.adapters.job_data import moment_in
from execution.adapters.scripts import lua
from execution.adapters.seals import Seal
from execution.domain.event import OrderEvent
from execution.domain.ids import OrderId
from execution.domain.status import OrderStatus

ORDER_QUEUE = "orders"
EXECUTE = "order_worker.jobs.execute"
PUBLISH = "status_dispatcher.jobs.publish"

# The seed's priorities: what starts first and is drained last when a fleet comes and goes.
STATUS_PRIORITIES = {
    OrderStatus.PENDING: 5,
    OrderStatus.ROUTING: 6,
    OrderStatus.BUILDING: 7,
    OrderStatus.SUBMITTED: 8,
    OrderStatus.CONFIRMED: 9,
    OrderStatus.FAILED: 10,
}

ORDER_HINT_PREFIX = "o-"
STATUS_HINT_PREFIX = "s-"

JOB_TIMEOUT_S = 180
FAILURE_TTL_S = 3600
ORDER_FAILURE_TTL_S = 30
QUEUES_KEY = Queue.redis_queues_keys
QUEUE_PREFIX = Queue.redis_queue_namespace_prefix
JOB_PREFIX = f"{RQ_KEY_PREFIX}:job:"

Field = bytes | bytearray | memoryview | str | int | float

log = structlog.get_logger()


def status_queue(status: OrderStatus) -> str:
    return f"order-status-{status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A job to be written. `committed_at` is PostgreSQL's time of what it tells."""

    queue: str
    job_id: str
    function: str
    arguments: tuple[Any, ...]
    committed_at: datetime
    failure_ttl_s: int
    meta: dict[str, Any]


def order_job_id(order_id: OrderId) -> str:
    """The id of an order's one job, and of its token in the rate window."""
    return f"{ORDER_HINT_PREFIX}{order_id}"


def order_hint(order_id: OrderId, *, created_at: datetime) -> Hint:
    """Says that an order waits. Enqueued once: the same id twice would run twice."""
    return Hint(
        queue=ORDER_QUEUE,
        job_id=order_job_id(order_id),
        function=EXECUTE,
        arguments=(str(order_id),),
        committed_at=created_at,
        failure_ttl_s=ORDER_FAILURE_TTL_S,
        meta={"created_at": created_at.timestamp()},
    )


def status_hint(event: OrderEvent, seal: Seal) -> Hint:
    """Says that an order has moved, in the very bytes that its channel is to carry."""
    text = json.dumps(frame(event), separators=(",", ":"))
    return Hint(
        queue=status_queue(event.status),
        job_id=f"{STATUS_HINT_PREFIX}{event.order_id}-{event.seq}",
        function=PUBLISH,
        arguments=(str(event.order_id), seal.close(text), event.occurred_at.timestamp()),
        committed_at=event.occurred_at,
        failure_ttl_s=FAILURE_TTL_S,
        meta={
            "created_at": event.occurred_at.timestamp(),
            "priority": STATUS_PRIORITIES[event.status],
        },
    )


def write_hints(client: redis.Redis, hints: Sequence[Hint], *, now: datetime) -> None:
    """Puts all hints on their queues in one transaction, in the order given."""
    with client.pipeline(transaction=True) as pipeline:
        by_queue: dict[str, list[str]] = {}
        for hint in hints:
            pipeline.hset(JOB_PREFIX + hint.job_id, mapping=_job_hash(hint, now=now))
            by_queue.setdefault(hint.queue, []).append(hint.job_id)
        for queue, job_ids in by_queue.items():
            pipeline.sadd(QUEUES_KEY, QUEUE_PREFIX + queue)
            pipeline.rpush(QUEUE_PREFIX + queue, *job_ids)
        pipeline.execute()


def _job_hash(hint: Hint, *, now: datetime) -> Mapping[Field, Field]:
    """The fields that rq.job.Job.restore reads, for a job that has just been enqueued."""
    call = json.dumps([hint.function, None, hint.arguments, {}], separators=(",", ":"))
    return {
        "status": JobStatus.QUEUED.value,
        "created_at": utcformat(hint.committed_at.astimezone(UTC)),
        "enqueued_at": utcformat(now),
        "origin": hint.queue,
        "description": hint.job_id,
        "data": zlib.compress(call.encode(), 1),
        "timeout": JOB_TIMEOUT_S,
        "result_ttl": 0,
        "failure_ttl": hint.failure_ttl_s,
        "meta": json.dumps(hint.meta),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLook:
    """How many jobs wait, and when the first of them came, in Unix seconds; None where none can tell."""

    depth: int
    head: float | None


def look_at(client: redis.Redis, queues: Sequence[str]) -> Mapping[str, QueueLook]:
    """Those of the queues that can be looked at: what stands in a queue's place may be none."""
    look = client.register_script(lua("look"))
    with client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            look(keys=[QUEUE_PREFIX + queue], args=[RQ_KEY_PREFIX], client=pipeline)
        answers = pipeline.execute(raise_on_error=False)
    looks: dict[str, QueueLook] = {}
    for queue, answer in zip(queues, answers, strict=True):
        if isinstance(answer, redis.RedisError):
            log.warning("queue not looked at", queue=queue, error=str(answer))
        else:
            depth, head = answer
            looks[queue] = QueueLook(depth=depth, head=moment_in(head))
    return looks


class Hints:
    """Sends hints after the commit, on a thread of its own.

    Never waits and never fails: with Redis away or the buffer full the hint is dropped and counted,
    and recovery or the position check does its work.
    """

    def __init__(self, client: redis.Redis, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._batches: Batches[Hint, None] = Batches(
            self._write, name="hints", batch_max=256, backlog_max=10_000
        )

    def send(self, *hints: Hint) -> None:
        for hint in hints:
            if not self._batches.offer(hint):
                metrics.HINTS_DROPPED.labels(queue=hint.queue).inc()

    def close(self) -> None:
        self._batches.close()

    def _write(self, hints: Sequence[Hint]) -> list[None]:
        try:
            write_hints(self._client, hints, now=self._now())
            outcome = metrics.HINTS_WRITTEN
        except redis.RedisError as error:
            log.warning("hints dropped", count=len(hints), error=str(error))
            outcome = metrics.HINTS_DROPPED
        for hint in hints:
            outcome.labels(queue=hint.queue).inc()
        return [None] * len(hints)
