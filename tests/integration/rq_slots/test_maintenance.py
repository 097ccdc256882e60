"""Maintenance of the slot worker: abandoned jobs end, one by one."""

import asyncio
import json
import time
import zlib
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from rq import registry
from rq.job import Job
from rq.serializers import JSONSerializer

from rq_slots import maintenance
from rq_slots import sweeper as bounds
from support.rq import (
    FAILED,
    FINISHED,
    FIRST_SEEN,
    INTERMEDIATE,
    LIST,
    QUARANTINE,
    QUEUE,
    STARTED,
    WORK,
    claims_again,
    enqueue,
    places,
    queue_of,
    scores,
    until,
    working,
)

READY = f"rq:ready:{QUEUE}"
AN_HOUR_S = 3600


def abandon(client: redis.Redis, job_id: str, **fields: Any) -> None:
    """A job of another producer whose worker died an hour ago."""
    queue_of(client).enqueue(WORK, job_id=job_id)
    client.lrem(LIST, 1, job_id)
    hash_fields: dict[Any, Any] = {"status": "started", **fields}
    client.hset(f"rq:job:{job_id}", mapping=hash_fields)
    client.zadd(STARTED, {f"{job_id}:dead": time.time() - AN_HOUR_S})


def maintained(client: redis.Redis) -> None:
    """Runs one round, by a worker that then stops."""

    async def work() -> None:
        async with working(client):
            pass

    client.delete(f"rq:maintenance:{QUEUE}")
    asyncio.run(work())


# One malformed entry


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("created_at", "garbage", ValueError), ("timeout", "abc", AssertionError)],
)
def test_one_unreadable_job_stops_stock_maintenance(
    client: redis.Redis, field: str, value: str, error: type[Exception]
) -> None:
    abandon(client, "bad", **{field: value})
    abandon(client, "good")
    for _ in range(2):
        with pytest.raises(error):
            registry.clean_registries(queue_of(client))

    assert places(client, "good") == ["started"]


@pytest.mark.parametrize(
    "fields",
    [
        {"created_at": "garbage"},
        {"created_at": b"\xff"},
        {"timeout": "abc"},
        {"status": "zzz"},
        {"origin": b"\xff"},
        {"dependency_ids": "{"},
        {"data": zlib.compress(bytes(10_000_000))},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_only_the_unreadable_abandoned_job_goes_to_quarantine(
    client: redis.Redis, fields: dict[str, Any]
) -> None:
    abandon(client, "bad", **fields)
    abandon(client, "good")
    maintained(client)

    assert places(client, "bad") == ["quarantine"]
    assert places(client, "good") == ["failed"]


@pytest.mark.parametrize("key", ["rq:job:bad", "rq:job:bad:dependents"])
def test_only_the_abandoned_job_with_a_key_of_a_wrong_type_goes_to_quarantine(
    client: redis.Redis, key: str
) -> None:
    abandon(client, "bad")
    client.delete(key)
    client.set(key, "text")
    abandon(client, "good")
    maintained(client)

    assert places(client, "bad") == ["quarantine"]
    assert places(client, "good") == ["failed"]


@pytest.mark.parametrize("member", [b"\xff:1", b"bad", b"a:b:c", b"", b"x" * 100_000 + b":1"])
def test_only_the_started_entry_that_names_no_job_goes_to_quarantine(
    client: redis.Redis, member: bytes
) -> None:
    client.zadd(STARTED, {member: time.time() - 2 * AN_HOUR_S})
    abandon(client, "good")
    maintained(client)

    assert client.zcard(STARTED) == 0
    assert client.zcard(QUARANTINE) == 1
    assert places(client, "good") == ["failed"]


def test_a_lease_of_minus_infinity_has_ended(client: redis.Redis) -> None:
    abandon(client, "old")
    client.zadd(STARTED, {"old:dead": "-inf"})
    maintained(client)

    assert places(client, "old") == ["failed"]


def test_an_abandoned_entry_without_a_job_is_dropped(client: redis.Redis) -> None:
    abandon(client, "gone")
    client.delete("rq:job:gone")
    maintained(client)

    assert places(client, "gone") == []


def test_a_job_with_a_current_lease_stays_started(client: redis.Redis) -> None:
    abandon(client, "lively")
    client.zadd(STARTED, {"lively:dead": time.time() + 10})
    maintained(client)

    assert places(client, "lively") == ["started"]


def popped_and_never_begun(client: redis.Redis, job_id: str, **fields: Any) -> None:
    queue_of(client).enqueue(WORK, job_id=job_id)
    client.lrem(LIST, 1, job_id)
    client.rpush(INTERMEDIATE, job_id)
    hash_fields: dict[Any, Any] = {"status": "queued", **fields}
    client.hset(f"rq:job:{job_id}", mapping=hash_fields)


def test_a_job_that_was_popped_and_not_started_fails_after_60_s(client: redis.Redis) -> None:
    popped_and_never_begun(client, "stuck")
    maintained(client)
    assert places(client, "stuck") == ["intermediate"]
    client.zincrby(FIRST_SEEN, -bounds.STUCK_PATIENCE_S, "stuck")
    maintained(client)

    assert places(client, "stuck") == ["failed"]


def test_only_the_unreadable_popped_job_goes_to_quarantine(client: redis.Redis) -> None:
    popped_and_never_begun(client, "bad", created_at="garbage")
    client.rpush(INTERMEDIATE, b"\xff")
    popped_and_never_begun(client, "good")
    popped_and_never_begun(client, "gone-on", status="finished")
    popped_and_never_begun(client, "gone")
    client.delete("rq:job:gone")
    maintained(client)
    for job_id in ("bad", "good", "gone-on", "gone"):
        client.zincrby(FIRST_SEEN, -bounds.STUCK_PATIENCE_S, job_id)
    maintained(client)

    assert client.llen(INTERMEDIATE) == 0
    assert places(client, "bad") == ["quarantine"]
    assert places(client, "good") == ["failed"]
    assert places(client, "gone-on") == places(client, "gone") == []


def test_a_job_that_returns_to_the_intermediate_list_has_60_s_again(
    client: redis.Redis,
) -> None:
    popped_and_never_begun(client, "twice")
    maintained(client)
    client.delete(INTERMEDIATE)
    maintained(client)

    assert client.zscore(FIRST_SEEN, "twice") is None


# Other entries


def test_hints_behind_many_other_entries_are_swept(client: redis.Redis) -> None:
    long_ago = time.time() - AN_HOUR_S
    client.zadd(FAILED, {f"foreign-{n}": -1 for n in range(1_200)})  # failures that never expire
    client.zadd(FAILED, {"job-1": long_ago})
    client.zadd(STARTED, {b"\xff-%d:1" % n: 5 for n in range(1_200)})
    client.zadd(STARTED, {"job-2:2": long_ago})
    client.rpush(INTERMEDIATE, *(f"foreign-{n}" for n in range(1_200)), "job-3")
    client.zadd(FIRST_SEEN, {"job-3": time.time() - 100})
    maintained(client)

    assert places_of_hints(client) == []
    assert client.zcard(FAILED) == 1_200


def places_of_hints(client: redis.Redis) -> list[bytes]:
    entries = [*client.lrange(INTERMEDIATE, 0, -1)]
    entries += [member for key in (FAILED, STARTED) for member, _ in scores(client, key)]
    return [entry for entry in entries if isinstance(entry, bytes) and entry.startswith(b"job-")]


def test_a_sweep_continues_where_the_last_one_ended(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SWEEP_MAX", 10)
    monkeypatch.setattr(bounds, "SWEEP_CALLS_MAX", 2)
    monkeypatch.setattr(maintenance, "EVERY_S", 0.01)
    client.zadd(FAILED, {f"foreign-{n}": -1 for n in range(95)})
    client.zadd(FAILED, {"job-1": time.time() - 100})

    async def work() -> None:
        async with working(client):
            await until(lambda: client.zscore(FAILED, "job-1") is None)

    asyncio.run(work())


# RQ's maintenance without abandoned jobs


@pytest.mark.parametrize("key", [FINISHED, FAILED])
def test_expired_entries_leave_their_registry(client: redis.Redis, key: str) -> None:
    client.zadd(key, {"foreign": time.time() - 1000, "kept": time.time() + 1000})
    maintained(client)

    assert client.zrange(key, 0, -1) == [b"kept"]


def test_a_ready_dependent_of_a_dead_producer_is_enqueued(client: redis.Redis) -> None:
    queue_of(client).enqueue(WORK, job_id="dependent")
    client.delete(LIST)
    client.hset("rq:job:dependent", "status", "ready_to_enqueue")
    client.hset("rq:job:bad", mapping={"status": "ready_to_enqueue", "created_at": "garbage"})
    ready: dict[Any, Any] = {b"\xff": 1, "bad": 2, "gone": 3, "dependent": time.time()}
    client.zadd(READY, ready)
    maintained(client)

    assert client.zcard(READY) == 0
    assert client.hget("rq:job:dependent", "status") in {b"queued", b"finished"}
    assert places(client, "bad") == ["quarantine"]


def test_a_failed_step_does_not_stop_the_others(client: redis.Redis) -> None:
    client.set(READY, "text")
    client.sadd("rq:workers", "rq:worker:gone")
    client.sadd(f"rq:workers:{QUEUE}", "rq:worker:gone")
    maintained(client)

    assert not client.sismember(f"rq:workers:{QUEUE}", "rq:worker:gone")


def test_maintenance_cleans_every_registry_that_rq_cleans() -> None:
    """A registry that a later RQ adds has to be added to the maintenance."""
    named = {name for name in registry.clean_registries.__code__.co_names if "Registry" in name}

    assert named == {
        "FinishedJobRegistry",
        "StartedJobRegistry",
        "FailedJobRegistry",
        "DeferredJobRegistry",  # whose cleanup does nothing
        "ReadyJobRegistry",
        "RateLimitRegistry",
    }


# The quarantine


def expelled() -> float:
    return REGISTRY.get_sample_value("rq_slots_jobs_expelled_total", {"queue": QUEUE}) or 0.0


def test_a_job_in_quarantine_is_deleted_after_a_day(
    client: redis.Redis,
) -> None:
    for job_id, age_s in {"old": bounds.QUARANTINE_S + 10, "young": 10}.items():
        client.set(f"rq:job:{job_id}", "text")
        client.zadd(QUARANTINE, {job_id: time.time() - age_s})
    before = expelled()
    maintained(client)

    assert client.zrange(QUARANTINE, 0, -1) == [b"young"]
    assert client.keys("rq:job:*") == [b"rq:job:young"]
    assert expelled() == before + 1


def test_the_oldest_jobs_leave_a_full_quarantine(client: redis.Redis) -> None:
    now = time.time()
    client.zadd(QUARANTINE, {f"bad-{n}": now + n for n in range(bounds.QUARANTINE_MAX + 300)})
    maintained(client)

    assert client.zcard(QUARANTINE) == bounds.QUARANTINE_MAX
    assert client.zscore(QUARANTINE, "bad-299") is None


# Beside claims


def test_claims_continue_during_a_long_maintenance_round(client: redis.Redis) -> None:
    call = zlib.compress(json.dumps([WORK, None, [1], {}]).encode())
    now = time.time()
    with client.pipeline(transaction=False) as pipeline:
        for n in range(1_000):
            fields: dict[Any, Any] = {
                "status": "started",
                "origin": QUEUE,
                "timeout": 180,
                "data": call,
            }
            pipeline.hset(f"rq:job:foreign-{n}", mapping=fields)
            pipeline.zadd(STARTED, {f"foreign-{n}:dead": now - 500})
        pipeline.execute()

    async def work() -> tuple[int, int]:
        claims = 0
        async with working(client) as worker:
            while client.zcount(STARTED, "-inf", now):
                enqueue(client, 1)
                await claims_again(worker)
                claims += 1
        return claims, client.zcard(FAILED)

    claims, failed = asyncio.run(work())

    assert failed == 1_000
    assert claims > 1


def test_an_abandoned_job_that_failed_has_a_reason(client: redis.Redis) -> None:
    abandon(client, "good")
    maintained(client)
    result = Job.fetch("good", connection=client, serializer=JSONSerializer).latest_result()

    assert result is not None
    assert "AbandonedJobError" in (result.exc_string or "")
