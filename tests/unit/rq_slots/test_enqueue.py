"""The hash of a new job, as RQ restores it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from rq_slots.enqueue import NewJob, job_hash

CREATED_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENQUEUED_AT = CREATED_AT + timedelta(milliseconds=3)


def a_job(**fields: Any) -> NewJob:
    values: dict[str, Any] = {
        "queue": "work",
        "job_id": "job-1",
        "function": "app.work",
        "created_at": CREATED_AT,
    }
    return NewJob(**values | fields)


def restored(new_job: NewJob) -> Job:
    """The job that RQ restores from the hash. Nothing is sent to Redis."""
    job = Job(new_job.job_id, connection=redis.Redis(), serializer=JSONSerializer)
    job.restore(as_stored(job_hash(new_job, now=ENQUEUED_AT)))
    return job


def as_stored(fields: Mapping[Any, Any]) -> dict[bytes, bytes]:
    """The fields as Redis returns them."""
    return {
        str(name).encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in fields.items()
    }


def test_rq_reads_the_call() -> None:
    job = restored(a_job(arguments=("text", 1, None, ["list"])))

    assert (job.func_name, job.args, job.kwargs) == ("app.work", ["text", 1, None, ["list"]], {})


def test_rq_reads_the_queue_the_status_and_the_timeout() -> None:
    job = restored(a_job())

    assert job.get_status(refresh=False) is JobStatus.QUEUED
    assert (job.origin, job.description, job.timeout) == ("work", "job-1", 180)


def test_rq_reads_both_ttls() -> None:
    assert (restored(a_job()).result_ttl, restored(a_job()).failure_ttl) == (0, 3600)
    assert restored(a_job(failure_ttl_s=30)).failure_ttl == 30


def test_rq_reads_the_meta() -> None:
    assert restored(a_job(meta={"priority": 5})).meta == {"priority": 5}


def test_rq_reads_both_times() -> None:
    job = restored(a_job())

    assert (job.created_at, job.enqueued_at) == (CREATED_AT, ENQUEUED_AT)


def test_a_creation_time_of_another_zone_is_written_in_utc() -> None:
    berlin = timezone(timedelta(hours=2))
    job = restored(a_job(created_at=datetime(2026, 6, 1, 1, tzinfo=berlin)))

    assert job.created_at == datetime(2026, 5, 31, 23, tzinfo=UTC)


def test_a_new_job_has_no_retries() -> None:
    job = restored(a_job())

    assert (job.retries_left, job.retry_intervals) == (None, None)
