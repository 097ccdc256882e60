"""RQ's tools, producers and workers on the queue of a slot worker."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from rq.worker import BaseWorker

from support.rq import (
    FAILED,
    LIST,
    QUEUE,
    WORK,
    enqueue,
    fail,
    fetched,
    is_finished,
    places,
    queue_of,
    recorder,
    until,
    working,
)
from support.rq_functions import NOTE, notes

TESTS = Path(__file__).parents[2]
JSON = "rq.serializers.JSONSerializer"
RQ_TIMEOUT_S = 60


def rq(redis_url: str, command: str, *arguments: str) -> str:
    """The output of RQ's command line tool."""
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "rq"), command, "-u", redis_url, "-S", JSON, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=RQ_TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


# The command line


def test_rq_info_lists_a_slot_worker_and_its_queue(redis_url: str, client: redis.Redis) -> None:
    gate = asyncio.Event()

    async def wait_at_gate(_: int) -> None:
        await gate.wait()

    async def work() -> tuple[str, str]:
        enqueue(client, 5)
        async with working(client, wait_at_gate, slots=2) as worker:
            await until(lambda: client.exists(worker.registration.key) and client.llen(LIST) == 3)
            listed = await asyncio.to_thread(rq, redis_url, "info", "--raw")
            gate.set()
        return worker.registration.name, listed

    name, listed = asyncio.run(work())
    lines = listed.splitlines()

    assert f"queue {QUEUE} 3, 2 executing, 0 finished, 0 failed" in lines
    assert [line for line in lines if line.startswith(f"worker {name} ") and QUEUE in line]


def test_rq_info_counts_the_jobs_of_a_slot_worker(redis_url: str, client: redis.Redis) -> None:
    async def work() -> str:
        enqueue(client, 3)
        async with working(client) as worker:
            await until(
                lambda: client.hget(worker.registration.key, "successful_job_count") == b"3"
            )
            return await asyncio.to_thread(rq, redis_url, "info", "--only-workers")

    assert "jobs: 3 finished, 0 failed" in asyncio.run(work())


def test_rq_lists_a_slot_worker_again_after_a_flush_under_load(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> tuple[str, list[str]]:
        async with working(client, note) as worker:
            await until(lambda: client.exists(worker.registration.key))
            client.flushall()
            enqueue(client, 1)
            await until(lambda: client.hexists(worker.registration.key, "last_heartbeat"))
            return worker.registration.name, [
                each.name for each in BaseWorker.all(connection=client)
            ]

    name, listed = asyncio.run(work())

    assert ran == [0]
    assert listed == [name]


def test_rq_suspend_stops_a_slot_worker_until_rq_resume(
    redis_url: str, client: redis.Redis
) -> None:
    ran, note = recorder()

    async def work() -> None:
        async with working(client, note) as worker:
            await asyncio.to_thread(rq, redis_url, "suspend")
            await until(lambda: worker.last_claim and worker.last_claim.suspended)
            enqueue(client, 3)
            before = worker.last_claim
            await until(lambda: worker.last_claim is not before)
            assert ran == []
            await asyncio.to_thread(rq, redis_url, "resume")
            await until(lambda: len(ran) == 3)

    asyncio.run(work())


def test_rq_requeue_runs_a_failed_job_again(redis_url: str, client: redis.Redis) -> None:
    ran: list[int] = []

    async def fail_at_first(first: int, second: int) -> int:
        ran.append(first + second)
        if len(ran) == 1:
            raise RuntimeError("as requested")
        return first + second

    async def work() -> None:
        queue_of(client).enqueue(WORK, 1, 2, job_id="sum")
        async with working(client, fail_at_first):
            await until(lambda: places(client, "sum") == ["failed"])
            await asyncio.to_thread(rq, redis_url, "requeue", "--queue", QUEUE, "sum")
            await until(lambda: is_finished(client, "sum"))

    asyncio.run(work())

    assert ran == [3, 3]
    assert fetched(client, "sum").return_value() == 3
    assert client.zcard(FAILED) == 0


def test_rq_requeue_runs_a_failed_job_without_a_result_again(
    redis_url: str, client: redis.Redis
) -> None:
    ran: list[int] = []

    async def fail_at_first(n: int) -> None:
        ran.append(n)
        if len(ran) == 1:
            raise RuntimeError("as requested")

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7, job_id="plain", result_ttl=0)
        async with working(client, fail_at_first):
            await until(lambda: places(client, "plain") == ["failed"])
            await asyncio.to_thread(rq, redis_url, "requeue", "--queue", QUEUE, "--all")
            await until(lambda: not client.exists("rq:job:plain"))

    asyncio.run(work())

    assert ran == [7, 7]
    assert places(client, "plain") == []


# A stock worker on the same queue


def test_a_stock_worker_runs_hints(redis_url: str, client: redis.Redis) -> None:
    enqueue(client, 5, function=NOTE)
    rq(redis_url, "worker", "--burst", "-P", str(TESTS), QUEUE)

    assert notes(client) == ["0", "1", "2", "3", "4"]
    assert client.keys("rq:job:*") == []
    assert not client.exists(LIST)


def test_a_stock_worker_and_a_slot_worker_share_a_queue(
    redis_url: str, client: redis.Redis
) -> None:
    async def note(n: int) -> None:
        client.rpush("notes", str(n))

    async def work() -> None:
        enqueue(client, 60, function=NOTE)
        async with working(client, slots=1, limit=50, functions={NOTE: note}):
            await until(lambda: client.llen("notes") == 50)
            await asyncio.to_thread(rq, redis_url, "worker", "--burst", "-P", str(TESTS), QUEUE)

    asyncio.run(work())

    assert sorted(map(int, notes(client))) == list(range(60))
    assert client.keys("rq:job:*") == []


def test_a_stock_worker_runs_a_requeued_failure_of_a_slot_worker(
    redis_url: str, client: redis.Redis
) -> None:
    async def work() -> None:
        queue_of(client).enqueue(NOTE, "again", job_id="guest")
        async with working(client, functions={NOTE: fail}):
            await until(lambda: places(client, "guest") == ["failed"])

    asyncio.run(work())
    rq(redis_url, "requeue", "--queue", QUEUE, "guest")
    rq(redis_url, "worker", "--burst", "-P", str(TESTS), QUEUE)

    assert notes(client) == ["again"]
    assert is_finished(client, "guest")


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_rq_lists_the_worker_of_a_running_job(client: redis.Redis, producer: str) -> None:
    gate = asyncio.Event()

    async def hold(*_: int) -> None:
        await gate.wait()

    def runners() -> list[str]:
        return [each.worker_name for each in fetched(client, "job-0").get_executions()]

    async def work() -> None:
        if producer == "ours":
            enqueue(client, 1)
        else:
            queue_of(client).enqueue(WORK, 0, job_id="job-0")
        async with working(client, hold) as worker:
            await until(lambda: worker.slots.free < worker.slots.count)
            # RQ removes executions without a record
            worker.registration.get_current_executions(refresh=True)
            await until(lambda: runners() == [worker.registration.name])
            listed = worker.registration.get_current_executions(refresh=True)
            assert [each.job_id for each in listed] == ["job-0"]
            gate.set()

    asyncio.run(work())

    assert client.keys("rq:execution*") == []
