"""What RQ 3.0.0 does with malformed and forged jobs, and what the slot worker does."""

import asyncio
import json
import os
import zlib
from typing import Any

import pytest
import redis
from rq import Callback
from rq.serializers import JSONSerializer

from rq_slots.allowlist import allowlisted
from rq_slots.errors import FunctionNotAllowed
from support.rq import (
    INTERMEDIATE,
    LIST,
    QUEUE,
    STARTED,
    WORK,
    claimed_by_a_dead_worker,
    expire_leases,
    places,
    queue_of,
    result_of,
    stock_worker,
    until,
    working,
)
from support.rq_functions import ADD, FAIL, NOTE, ON_FAILURE, ON_STOP, ON_SUCCESS, notes

# One malformed job kills the worker and leaves the maintenance lock behind


def test_one_malformed_job_ends_stock_workers_and_stops_their_maintenance_for_899_s(
    client: redis.Redis, stock: redis.Redis
) -> None:
    for job_id in ("bad", "good"):
        queue_of(client).enqueue(NOTE, job_id, job_id=job_id)
    client.hset("rq:job:bad", "status", "zzz")
    first = stock_worker(stock).work(burst=True)
    second = stock_worker(stock).work(burst=True)

    assert (first, second) == (False, False)
    assert notes(client) == []
    assert 880 < client.ttl(f"rq:clean_registries:{QUEUE}") <= 899


def test_a_slot_worker_quarantines_a_malformed_job_and_continues(client: redis.Redis) -> None:
    ran: list[object] = []

    async def note(word: str) -> None:
        ran.append(word)

    async def work() -> None:
        for job_id in ("bad", "good"):
            queue_of(client).enqueue(NOTE, job_id, job_id=job_id)
        client.delete("rq:job:bad")
        client.set("rq:job:bad", "text")
        async with working(client, functions={NOTE: note}):
            await until(lambda: ran)

    asyncio.run(work())

    assert ran == ["good"]
    assert places(client, "bad") == ["quarantine"]


def test_a_malformed_job_does_not_stop_the_maintenance_of_a_slot_worker(
    client: redis.Redis,
) -> None:
    """It is in the intermediate list, where it stops RQ's maintenance."""

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="bad")
        queue_of(client).enqueue(WORK, job_id="abandoned")
        client.lmove(LIST, INTERMEDIATE, "LEFT", "RIGHT")
        client.hset("rq:job:bad", "status", "zzz")
        claimed_by_a_dead_worker(client, 1)
        expire_leases(client)
        async with working(client):
            await until(lambda: places(client, "abandoned") == ["failed"])

    asyncio.run(work())

    assert 0 < client.ttl(f"rq:maintenance:{QUEUE}") <= 30


# The JSON serializer lets any importable function run


def enqueue_call(client: redis.Redis, job_id: str, name: str, instance: object) -> None:
    """Writes a job without RQ."""
    call = json.dumps([name, instance, [], {}])
    fields: dict[Any, Any] = {
        "status": "queued",
        "origin": QUEUE,
        "data": zlib.compress(call.encode()),
    }
    client.hset(f"rq:job:{job_id}", mapping=fields)
    client.rpush(LIST, job_id)


INTRUDERS = [("os.getpid", None), ("upper", "text")]


@pytest.mark.parametrize(
    ("name", "instance", "result"),
    [("os.getpid", None, os.getpid()), ("upper", "text", "TEXT")],
    ids=["function", "method"],
)
def test_a_stock_worker_calls_any_function_that_a_hash_names(
    client: redis.Redis, stock: redis.Redis, name: str, instance: object, result: object
) -> None:
    enqueue_call(client, "intruder", name, instance)
    stock_worker(stock).work(burst=True)

    assert result_of(client, "intruder") == result


@pytest.mark.parametrize(("name", "instance"), INTRUDERS)
def test_a_slot_worker_calls_only_allowed_functions(
    client: redis.Redis, name: str, instance: object
) -> None:
    async def work() -> None:
        enqueue_call(client, "intruder", name, instance)
        async with working(client):
            await until(lambda: client.hget("rq:job:intruder", "status") == b"failed")

    asyncio.run(work())

    assert result_of(client, "intruder") is None


@pytest.mark.parametrize(("name", "instance"), INTRUDERS)
def test_a_stock_worker_with_the_allowlisted_class_calls_only_allowed_functions(
    client: redis.Redis, stock: redis.Redis, name: str, instance: object
) -> None:
    enqueue_call(client, "intruder", name, instance)
    queue_of(client).enqueue(NOTE, "allowed")
    stock_worker(stock, job_class=allowlisted({NOTE})).work(burst=True)

    assert client.hget("rq:job:intruder", "status") == b"failed"
    assert result_of(client, "intruder") is None
    assert notes(client) == ["allowed"]


def test_a_stock_worker_calls_any_callback_that_a_hash_names(
    client: redis.Redis, stock: redis.Redis
) -> None:
    enqueue_with_callbacks(client)
    stock_worker(stock).work(burst=True)

    assert notes(client) == ["good succeeded with 3", "bad failed with RuntimeError"]


def test_a_stock_worker_with_the_allowlisted_class_calls_only_allowed_callbacks(
    client: redis.Redis, stock: redis.Redis
) -> None:
    enqueue_with_callbacks(client)
    stock_worker(stock, job_class=allowlisted({ADD, FAIL})).work(burst=True)

    assert notes(client) == []


def test_a_slot_worker_calls_only_allowed_callbacks(client: redis.Redis) -> None:
    ran: list[str] = []

    async def add(first: int, second: int) -> int:
        ran.append("add")
        return first + second

    async def fail() -> None:
        ran.append("fail")
        raise RuntimeError("as requested")

    async def work() -> None:
        enqueue_with_callbacks(client)
        async with working(client, functions={ADD: add, FAIL: fail}):
            await until(lambda: sorted(ran) == ["add", "fail"])
        expire_leases(client)
        async with working(client, functions={ADD: add, FAIL: fail}):
            await until(lambda: client.zcard(STARTED) == 0)

    asyncio.run(work())

    assert sorted(ran) == ["add", "fail"]
    assert notes(client) == []


def enqueue_with_callbacks(client: redis.Redis) -> None:
    on_success, on_failure = Callback(ON_SUCCESS), Callback(ON_FAILURE)
    queue_of(client).enqueue(ADD, 1, 2, job_id="good", on_success=on_success)
    queue_of(client).enqueue(FAIL, job_id="bad", on_failure=on_failure)


@pytest.mark.parametrize("callback", ["success", "failure", "stopped"])
def test_every_kind_of_callback_is_refused_when_it_is_not_allowed(
    client: redis.Redis, callback: str
) -> None:
    queue_of(client).enqueue(
        NOTE,
        job_id="intruder",
        on_success=Callback(ON_SUCCESS),
        on_failure=Callback(ON_FAILURE),
        on_stopped=Callback(ON_STOP),
    )
    job = allowlisted({NOTE}).fetch("intruder", connection=client, serializer=JSONSerializer)

    with pytest.raises(FunctionNotAllowed):
        getattr(job, f"{callback}_callback")


def test_allowed_and_absent_callbacks_are_those_of_rq(client: redis.Redis) -> None:
    queue_of(client).enqueue(NOTE, job_id="guest", on_success=Callback(ON_SUCCESS))
    job = allowlisted({ON_SUCCESS}).fetch("guest", connection=client, serializer=JSONSerializer)

    assert job.success_callback is not None
    assert job.success_callback.__name__ == "on_success"
    assert job.failure_callback is None
    assert job.stopped_callback is None
