"""Bulk enqueue for any RQ queue, and the state of queues.

The hashes are RQ's own, with the fewest fields: `rq info` lists the jobs, and a stock `rq worker`
with the JSON serializer can run them. The data is not compressed, which RQ accepts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis
import redis.asyncio
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.queue import Queue
from rq.utils import utcformat

from rq_slots.job_call import time_in
from rq_slots.scripts import lua

JOB_TIMEOUT_S = 180
FAILURE_TTL_S = 3600
QUEUES_KEY = Queue.redis_queues_keys
QUEUE_PREFIX = Queue.redis_queue_namespace_prefix
SCRIPT = lua("enqueue")

Argument = str | int

encode = json.JSONEncoder(separators=(",", ":")).encode

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
    """Puts all jobs on their queues in one call, in the order given."""
    keys, arguments = _call(jobs, now=now)
    client.register_script(SCRIPT)(keys=keys, args=arguments)


async def enqueue_async(
    client: redis.asyncio.Redis, jobs: Sequence[NewJob], *, now: datetime
) -> None:
    """As `enqueue`, on the event loop."""
    keys, arguments = _call(jobs, now=now)
    await client.register_script(SCRIPT)(keys=keys, args=arguments)


def _call(jobs: Sequence[NewJob], *, now: datetime) -> tuple[list[str], list[Argument]]:
    """The keys and arguments of enqueue.lua."""
    numbers: dict[str, int] = {}
    created: dict[datetime, str] = {}  # jobs of one commit share their time
    arguments: list[Argument] = [
        RQ_KEY_PREFIX,
        QUEUE_PREFIX,
        QUEUES_KEY,
        utcformat(now),
        JOB_TIMEOUT_S,
    ]
    for job in jobs:
        if job.created_at not in created:
            created[job.created_at] = utcformat(job.created_at.astimezone(UTC))
        arguments += (
            numbers.setdefault(job.queue, len(numbers) + 1),
            job.job_id,
            encode([job.function, None, job.arguments, {}]),
            created[job.created_at],
            job.failure_ttl_s,
            encode(job.meta),
        )
    return [QUEUE_PREFIX + queue for queue in numbers], arguments


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
