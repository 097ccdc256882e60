"""New jobs, as RQ reads them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from rq_slots.enqueue import NewJob, enqueue

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


def restored(client: redis.Redis, new_job: NewJob) -> Job:
    """The job as RQ reads it."""
    enqueue(client, [new_job], now=ENQUEUED_AT)
    return Job.fetch(new_job.job_id, connection=client, serializer=JSONSerializer)


def test_rq_reads_the_call(client: redis.Redis) -> None:
    job = restored(client, a_job(arguments=("text", 1, None, ["list"])))

    assert (job.func_name, job.args, job.kwargs) == ("app.work", ["text", 1, None, ["list"]], {})


def test_rq_reads_the_queue_the_status_and_the_timeout(client: redis.Redis) -> None:
    job = restored(client, a_job())

    assert job.get_status(refresh=False) is JobStatus.QUEUED
    assert (job.origin, job.description, job.timeout) == ("work", "job-1", 180)


def test_rq_reads_both_ttls(client: redis.Redis) -> None:
    assert (restored(client, a_job()).result_ttl, restored(client, a_job()).failure_ttl) == (
        0,
        3600,
    )
    assert restored(client, a_job(failure_ttl_s=30)).failure_ttl == 30


def test_rq_reads_the_meta(client: redis.Redis) -> None:
    assert restored(client, a_job(meta={"priority": 5})).meta == {"priority": 5}


def test_rq_reads_both_times(client: redis.Redis) -> None:
    job = restored(client, a_job())

    assert (job.created_at, job.enqueued_at) == (CREATED_AT, ENQUEUED_AT)


def test_a_creation_time_of_another_zone_is_written_in_utc(client: redis.Redis) -> None:
    berlin = timezone(timedelta(hours=2))
    job = restored(client, a_job(created_at=datetime(2026, 6, 1, 1, tzinfo=berlin)))

    assert job.created_at == datetime(2026, 5, 31, 23, tzinfo=UTC)


def test_a_new_job_has_no_retries(client: redis.Redis) -> None:
    job = restored(client, a_job())

    assert (job.retries_left, job.retry_intervals) == (None, None)


def test_jobs_keep_their_order_and_have_their_own_queues(client: redis.Redis) -> None:
    jobs = [a_job(job_id=f"job-{n}", queue=("even", "odd")[n % 2]) for n in range(2_500)]

    enqueue(client, jobs, now=ENQUEUED_AT)

    for queue, first in (("even", 0), ("odd", 1)):
        ids = Queue(queue, connection=client).job_ids
        assert ids == [f"job-{n}" for n in range(first, 2_500, 2)]
    assert client.smembers("rq:queues") == {b"rq:queue:even", b"rq:queue:odd"}
