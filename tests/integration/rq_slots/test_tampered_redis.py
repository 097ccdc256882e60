"""The slot worker continues with any content of Redis: a client that writes there can only delay jobs."""

import asyncio
import json
import socket
import zlib
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from rq_slots.allowlist import allowlisted
from rq_slots.job_call import CALL_BYTES_MAX
from rq_slots.worker import SlotWorker
from support.cutting_proxy import CuttingProxy, Loss
from support.rq import (
    LIST,
    QUARANTINE,
    QUEUE,
    STARTED,
    WINDOW,
    WORK,
    claims_again,
    enqueue,
    keeps_working,
    places,
    queue_of,
    recorder,
    scores,
    until,
    working,
)

HUGE = "x" * (CALL_BYTES_MAX + 1)
BOMB = zlib.compress(bytes(50_000_000), 9)
DEEP = "[" * 100_000


def forge(client: redis.Redis, job_id: str | bytes, **fields: Any) -> None:
    """Writes a job without RQ."""
    call = zlib.compress(json.dumps([WORK, None, [0], {}]).encode())
    hash_fields: dict[Any, Any] = {"status": "queued", "origin": QUEUE, "data": call, **fields}
    client.hset(
        b"rq:job:" + (job_id if isinstance(job_id, bytes) else job_id.encode()),
        mapping=hash_fields,
    )
    client.rpush(LIST, job_id)


# Fields of a job


@pytest.mark.parametrize(
    "field", ["data", "meta", "enqueued_at", "timeout", "status", "group_id", "webhooks"]
)
def test_a_job_with_a_huge_field_goes_to_quarantine(client: redis.Redis, field: str) -> None:
    forge(client, "huge", **{field: HUGE})
    keeps_working(client)

    assert places(client, "huge") == ["quarantine"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BOMB, id="bomb"),
        pytest.param(zlib.compress(DEEP.encode()), id="deep"),
        pytest.param(zlib.compress(b"[" + b"9" * 60_000 + b"]"), id="huge integer"),
    ],
)
def test_a_call_that_is_too_large_fails(client: redis.Redis, data: bytes) -> None:
    forge(client, "bomb", data=data)
    keeps_working(client)

    assert client.hget("rq:job:bomb", "status") != b"queued"


@pytest.mark.parametrize("field", ["exc_info", "result", "meta", "description", "dependency_ids"])
def test_a_decompression_bomb_in_another_field_does_not_stop_the_worker(
    client: redis.Redis, field: str
) -> None:
    forge(client, "bomb", **{field: BOMB[:CALL_BYTES_MAX], "result_ttl": "500"})
    keeps_working(client)


def test_the_allowlisted_class_does_not_decompress_a_bomb(client: redis.Redis) -> None:
    for field in ("data", "exc_info"):
        forge(client, field, **{field: BOMB})

        with pytest.raises(NoSuchJobError):
            allowlisted(()).fetch(field, connection=client, serializer=JSONSerializer)


def test_the_allowlisted_class_does_not_read_a_huge_hash(client: redis.Redis) -> None:
    forge(client, "huge", note="x" * 2_000_000)

    with pytest.raises(NoSuchJobError):
        allowlisted(()).fetch("huge", connection=client, serializer=JSONSerializer)


@pytest.mark.parametrize("job_id", [b"\xff\xfe", b"a b", b"a:b", b"x" * 300, b"", b"x" * 1_000_000])
def test_an_entry_that_is_not_a_job_id_is_dropped(client: redis.Redis, job_id: bytes) -> None:
    forge(client, job_id, result_ttl="500")
    keeps_working(client)

    assert client.zcard(STARTED) == client.zcard(QUARANTINE) == client.llen(LIST) == 0


def test_many_entries_that_are_not_jobs_are_dropped_over_several_calls(client: redis.Redis) -> None:
    client.rpush(LIST, *(f"nothing-{n}" for n in range(5_000)))
    keeps_working(client)

    assert client.llen(LIST) == 0


@pytest.mark.parametrize("created_at", ["1e400", "-1e400", "1e18", "-7", "nan", '"noon"', DEEP])
def test_a_head_without_a_valid_time_gives_no_watermark(
    client: redis.Redis, created_at: str
) -> None:
    async def hold(_: int) -> None:
        await gate.wait()

    gate = asyncio.Event()

    async def work() -> None:
        enqueue(client, 1)
        forge(client, "head", meta=f'{{"created_at": {created_at}}}')
        async with working(client, hold, slots=1) as worker:
            await until(lambda: worker.slots.free == 0)
            await claims_again(worker)
            gate.set()
            assert worker.last_claim is not None
            assert (worker.last_claim.head, worker.last_claim.empty) == (None, False)

    asyncio.run(work())


@pytest.mark.parametrize("field", ["timeout", "failure_ttl", "result_ttl", "enqueued_at"])
@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1e300", "inf", "nan", "9" * 400, "\udcff".encode(errors="replace")]
)
def test_invalid_numbers_do_not_stop_the_worker(
    client: redis.Redis, field: str, value: str | bytes
) -> None:
    forge(client, "job-1", **{"result_ttl": "0", field: value})
    forge(client, "job-2", **{"result_ttl": "0", field: value, "data": "no call: it will fail"})
    keeps_working(client)


@pytest.mark.parametrize("outcome", ["finished", "failed"])
def test_no_webhook_is_sent(client: redis.Redis, outcome: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        webhooks = json.dumps([{"url": url, "job_status": outcome, "timeout": 600}])
        data = {} if outcome == "finished" else {"data": "no call: it will fail"}
        forge(client, "hooked", webhooks=webhooks, **data)
        keeps_working(client)
        job = Job.fetch("hooked", connection=client, serializer=JSONSerializer)
        listener.setblocking(False)

        assert job.get_status() == outcome
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_unreadable_started_job_does_not_stop_maintenance(client: redis.Redis) -> None:
    broken: dict[str, dict[str, Any]] = {
        "bomb": {"data": BOMB},
        "no-number": {"result_ttl": "many"},
    }
    for job_id, fields in broken.items():
        forge(client, job_id, **fields)
        client.zadd(STARTED, {f"{job_id}:dead": 1})
    queue_of(client).enqueue(WORK, 0, job_id="guest")
    client.hset("rq:job:guest", "status", "started")
    client.zadd(STARTED, {"guest:dead": 2})
    client.delete(LIST)
    keeps_working(client)

    assert client.zcard(STARTED) == 0
    assert places(client, "guest") == ["failed"]


# Keys of a wrong type


def of_another_type(client: redis.Redis, key: str) -> None:
    """Makes the key a string, or a list when it was a string."""
    with client.pipeline() as pipeline:  # atomic, because the worker may write the key at any time
        pipeline.delete(key)
        if key in {"rq:suspended", f"rq:probe:{QUEUE}", f"{WINDOW}:known"}:
            pipeline.rpush(key, "text")
        else:
            pipeline.set(key, "text")
        pipeline.execute()


@pytest.mark.parametrize("key", [LIST, STARTED, WINDOW, QUARANTINE])
@pytest.mark.parametrize("when", ["before it starts", "while it works"])
def test_a_key_of_a_wrong_type_counts_as_redis_being_away_until_it_is_flushed(
    client: redis.Redis, key: str, when: str
) -> None:
    ran, note = recorder()

    async def no_starts() -> dict[str, float]:
        return {}

    async def work() -> None:
        if when == "before it starts":
            of_another_type(client, key)
        async with working(client, note, limit=100, recent_starts=no_starts) as worker:
            if when == "while it works":
                await until(lambda: worker.last_claim)
                of_another_type(client, key)
            await until(lambda: worker.without_redis and worker.redis_is_unusable)
            assert unusable() == 1
            client.flushall()
            await until(lambda: not (worker.without_redis or worker.redis_is_unusable))
            enqueue(client, 2)
            await until(lambda: sorted(ran) == [0, 1])
            await until(lambda: unusable() == 0)

    asyncio.run(work())


def unusable() -> float:
    return REGISTRY.get_sample_value("rq_slots_redis_unusable", {"queue": QUEUE}) or 0.0


def test_a_redis_that_is_only_down_is_not_unusable(
    proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    async def work() -> None:
        async with working(behind_proxy) as worker:
            await until(lambda: worker.last_claim)
            proxy.cut(Loss.REQUEST, lambda _: True, for_good=True)
            await until(lambda: worker.without_redis)
            assert not worker.redis_is_unusable
            proxy.restore()

    asyncio.run(work())


@pytest.mark.parametrize("producer", ["ours", "stock"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "key", ["rq:job:{}", "rq:executions:{}", "rq:job:{}:dependents", "rq:results:{}"]
)
@pytest.mark.parametrize("when", ["waits", "runs"])
def test_a_key_of_a_job_with_a_wrong_type_does_not_stop_the_worker(
    client: redis.Redis, producer: str, fails: bool, key: str, when: str
) -> None:
    """Other jobs run. Whether this one runs is not specified."""
    job_id = "job-7" if producer == "ours" else "guest"
    begun = asyncio.Event()
    gate = asyncio.Event()
    ran: list[int] = []

    async def note(n: int) -> None:
        if n == 7:
            begun.set()
            await gate.wait()
            if fails:
                raise RuntimeError("as requested")
        ran.append(n)

    async def work() -> None:
        if producer == "ours":
            enqueue(client, 1, first=7)
        else:
            queue_of(client).enqueue(WORK, 7, job_id=job_id)
        if when == "waits":
            of_another_type(client, key.format(job_id))
            gate.set()
        async with working(client, note) as worker:
            if when == "runs":
                await begun.wait()
                of_another_type(client, key.format(job_id))
                gate.set()
            enqueue(client, 2, first=100)
            await until(lambda: {100, 101} <= set(ran))
            await claims_again(worker)

            assert not worker.without_redis

    asyncio.run(work())


def test_a_count_that_is_not_a_number_does_not_stop_a_job_from_ending(client: redis.Redis) -> None:
    def tamper(worker: SlotWorker) -> None:
        client.hset(worker.registration.key, "successful_job_count", "many")

    keeps_working(client, tamper)

    assert client.keys("rq:job:*") == []


# Records of a job


def test_a_forged_execution_record_does_not_stop_the_worker(
    client: redis.Redis,
) -> None:
    gate, ran = asyncio.Event(), []

    async def hold(n: int) -> None:
        ran.append(n)
        if n == 0:
            await gate.wait()

    async def work() -> None:
        enqueue(client, 1)
        async with working(client, hold, slots=2):
            await until(lambda: client.zcard(STARTED))
            ((member, _),) = scores(client, STARTED)
            client.delete(b"rq:execution:" + member)
            client.set(b"rq:execution:" + member, "x")
            enqueue(client, 1, first=1)
            await until(lambda: not client.exists("rq:job:job-1"))
            gate.set()

    asyncio.run(work())

    assert ran == [0, 1]
