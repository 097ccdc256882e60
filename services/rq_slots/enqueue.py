"""Bulk enqueue for any RQ queue, and the state of queues.

The hashes are RQ's own, with the fewest fields: `rq info` lists the jobs, and a stock `rq worker`
with the JSON serializer can run them.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus
from rq.queue import Queue
from rq.utils import utcformat

from rq_slots.job_call import time_in
from rq_slots.scripts import lua

JOB_TIMEOUT_S = 180
FAILURE_TTL_S = 3600
QUEUES_KEY = Queue.redis_queues_keys
QUEUE_PREFIX = Queue.redis_queue_namespace_prefix
JOB_PREFIX = f"{RQ_KEY_PREFIX}:job:"

Field = bytes | bytearray | memoryview | str | int | float

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to enqueue. Its arguments and its meta must be JSON values.

    A failed job is kept for `failure_ttl_s`. The same id enqueued twice runs twice.
    """

    queue: str
    job_id: str
    function: str
    arguments: tuple[Any, ...] = ()
    created_at: datetime
    failure_ttl_s: int = FAILURE_TTL_S
    meta: Mapping[str, Any] = field(default_factory=dict)


def enqueue(client: redis.Redis, jobs: Sequence[NewJob], *, now: datetime) -> None:
    """Puts all jobs on their queues in one transaction, in the order given."""
    with client.pipeline(transaction=True) as pipeline:
        by_queue: dict[str, list[str]] = {}
        for job in jobs:
            pipeline.hset(JOB_PREFIX + job.job_id, mapping=job_hash(job, now=now))
            by_queue.setdefault(job.queue, []).append(job.job_id)
        for queue, job_ids in by_queue.items():
            pipeline.sadd(QUEUES_KEY, QUEUE_PREFIX + queue)
            pipeline.rpush(QUEUE_PREFIX + queue, *job_ids)
        pipeline.execute()


def job_hash(job: NewJob, *, now: datetime) -> Mapping[Field, Field]:
    """The fields that rq.job.Job.restore reads, for a job that has just been enqueued."""
    call = json.dumps([job.function, None, job.arguments, {}], separators=(",", ":"))
    return {
        "status": JobStatus.QUEUED.value,
        "created_at": utcformat(job.created_at.astimezone(UTC)),
        "enqueued_at": utcformat(now),
        "origin": job.queue,
        "description": job.job_id,
        "data": zlib.compress(call.encode(), 1),
        "timeout": JOB_TIMEOUT_S,
        "result_ttl": 0,
        "failure_ttl": job.failure_ttl_s,
        "meta": json.dumps(job.meta),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How many jobs wait, and when the first of them was created, in Unix seconds (None: unknown)."""

    depth: int
    head: float | None


def queue_states(client: redis.Redis, queues: Sequence[str]) -> Mapping[str, QueueState]:
    """The state of each queue that can be read; a key of another type is logged and left out."""
    read_state = client.register_script(lua("queue_state"))
    with client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            read_state(keys=[QUEUE_PREFIX + queue], args=[RQ_KEY_PREFIX], client=pipeline)
        answers = pipeline.execute(raise_on_error=False)
    states: dict[str, QueueState] = {}
    for queue, answer in zip(queues, answers, strict=True):
        if isinstance(answer, redis.RedisError):
            log.warning("queue not readable", queue=queue, error=str(answer))
        else:
            depth, head = answer
            states[queue] = QueueState(depth=depth, head=time_in(head))
    return states
