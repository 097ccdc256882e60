"""Functions of a stock producer's jobs, which RQ imports. Notes go to a list in Redis."""

from typing import Any

import redis
from rq import get_current_job
from rq.job import Job

NOTES = "notes"

NOTE = f"{__name__}.note"
ADD = f"{__name__}.add"
FAIL = f"{__name__}.fail"
ON_SUCCESS = f"{__name__}.on_success"
ON_FAILURE = f"{__name__}.on_failure"
ON_STOP = f"{__name__}.on_stop"


def note(*words: object) -> None:
    """For RQ's workers. A slot worker runs the coroutine that it has for this name."""
    job = get_current_job()
    assert job is not None
    job.connection.rpush(NOTES, " ".join(map(str, words)))


def add(first: int, second: int) -> int:
    return first + second


def fail(*_: object) -> None:
    raise RuntimeError("as requested")


def on_success(job: Job, connection: redis.Redis, result: object) -> None:
    connection.rpush(NOTES, f"{job.id} succeeded with {result}")


def on_failure(job: Job, connection: redis.Redis, kind: type[Exception], *_: Any) -> None:
    connection.rpush(NOTES, f"{job.id} failed with {kind.__name__}")


def on_stop(job: Job, connection: redis.Redis) -> None:
    connection.rpush(NOTES, f"{job.id} stopped")


def notes(client: redis.Redis) -> list[str]:
    return [note.decode() for note in client.lrange(NOTES, 0, -1) if isinstance(note, bytes)]
