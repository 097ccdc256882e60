"""Fields of a job that set its ttl, timeout and wait."""

import asyncio
from datetime import UTC, datetime

import pytest
import redis

from rq_slots.enqueue import NewJob
from rq_slots.enqueue import enqueue as enqueue_jobs
from rq_slots.job_call import WAIT_MAX_S
from support.rq import (
    FAILED,
    QUEUE,
    WORK,
    enqueue,
    places,
    recorder,
    sample,
    until,
    working,
)


def test_a_job_with_a_timeout_of_0_frees_its_slot(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 2)
        client.hset("rq:job:job-0", "timeout", 0)
        async with working(client, note, slots=1):
            await until(lambda: 1 in ran)

    asyncio.run(work())


# Fields of a job


@pytest.mark.parametrize(("keep_s", "left_s"), [("90", 90), ("90.5", 90), ("1e300", 31_536_000)])
def test_a_failure_is_kept_for_the_ttl_of_its_job(
    client: redis.Redis, keep_s: str, left_s: int
) -> None:
    fail_one(client, keep_s)

    assert left_s - 20 < client.ttl("rq:job:foreign") <= left_s


@pytest.mark.parametrize("keep_s", ["0", "0.5"])
def test_a_failure_with_a_ttl_of_0_is_deleted(client: redis.Redis, keep_s: str) -> None:
    fail_one(client, keep_s)

    assert not client.exists("rq:job:foreign")


@pytest.mark.parametrize("keep_s", ["", "many", "nan"])
def test_a_failure_without_a_valid_ttl_is_kept_for_an_hour(
    client: redis.Redis, keep_s: str
) -> None:
    fail_one(client, keep_s)

    assert 3500 < client.ttl("rq:job:foreign") <= 3600


def test_a_failure_with_a_negative_ttl_never_expires(client: redis.Redis) -> None:
    fail_one(client, "-1")

    assert client.ttl("rq:job:foreign") == -1
    assert places(client, "foreign") == ["failed"]


NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_foreign_job() -> NewJob:
    return NewJob(queue=QUEUE, job_id="foreign", function=WORK, arguments=("x",), created_at=NOW)


def fail_one(client: redis.Redis, keep_s: str) -> None:
    enqueue_jobs(client, [a_foreign_job()], now=NOW)
    client.hset("rq:job:foreign", "failure_ttl", keep_s)

    async def fail(_: str) -> None:
        raise RuntimeError("as requested")

    def has_failed() -> bool:
        # one with a ttl of 0 leaves the registry with the next round of maintenance
        return client.zscore(FAILED, "foreign") is not None or not client.exists("rq:job:foreign")

    async def work() -> None:
        async with working(client, fail):
            await until(has_failed)

    asyncio.run(work())


@pytest.mark.parametrize("at", ["nan", "-inf", "inf", "0", "1e300", "0001-01-01T00:00:00"])
def test_a_forged_time_adds_a_bounded_wait(client: redis.Redis, at: str) -> None:
    before = sample("rq_slots_job_wait_seconds_sum")
    enqueue(client, 1)
    client.hset("rq:job:job-0", "enqueued_at", at)

    async def work() -> None:
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert 0 <= sample("rq_slots_job_wait_seconds_sum") - before <= WAIT_MAX_S
