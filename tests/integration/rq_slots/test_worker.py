"""The slot worker on a real Redis."""

import asyncio
import time
from collections.abc import Callable

import pytest
import redis
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from rq_slots.worker import SlotWorker
from support.rq import (
    QUEUE,
    WORK,
    enqueue,
    queue_of,
    recorder,
    until,
    working,
)


def test_every_job_runs_once_and_leaves_no_keys(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 500)
        async with working(client, note):
            await until(lambda: len(ran) == 500)

    asyncio.run(work())

    assert sorted(ran) == list(range(500))
    assert client.keys("rq:job:*") == []
    assert client.keys("rq:execution*") == []
    assert client.zcard(StartedJobRegistry(QUEUE, connection=client).key) == 0


def test_jobs_start_in_the_order_of_the_queue(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 50)
        async with working(client, note, slots=1):
            await until(lambda: len(ran) == 50)

    asyncio.run(work())

    assert ran == list(range(50))


def test_at_most_as_many_jobs_run_at_once_as_there_are_slots(client: redis.Redis) -> None:
    running = most = 0
    ended = 0

    async def hold(n: int) -> None:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        ended += 1

    async def work() -> None:
        enqueue(client, 100)
        async with working(client, hold, slots=7):
            await until(lambda: ended == 100)

    asyncio.run(work())

    assert most == 7


def test_starts_stop_at_the_limit_of_the_window(client: redis.Redis) -> None:
    started, note = recorder()

    async def work() -> None:
        enqueue(client, 30)
        async with (
            working(client, note, limit=12) as first,
            working(client, note, limit=12) as second,
        ):
            await until(lambda: len(started) == 12)
            await until(lambda: both_have_been_refused(first, second))

    def both_have_been_refused(*workers: SlotWorker) -> bool:
        return all(w.last_claim is not None and w.last_claim.tokens_left == 0 for w in workers)

    asyncio.run(work())

    assert len(started) == 12
    assert len(queue_of(client)) == 18
    assert client.zcard("starts") == 12


def test_the_next_job_starts_when_a_token_leaves_the_window(client: redis.Redis) -> None:
    started, note = recorder()

    async def work() -> None:
        enqueue(client, 3)
        client.zadd("starts", {"an hour ago": time.time() - 3600, "just now": time.time() - 1})
        async with working(client, note, limit=2) as worker:
            await until(
                lambda: worker.last_claim is not None and worker.last_claim.tokens_left == 0
            )
            assert started == [0]
            client.zrem("starts", "just now")
            await until(lambda: len(started) == 2)

    asyncio.run(work())


def test_a_job_that_raises_fails_alone_and_is_kept(client: redis.Redis) -> None:
    ran: list[int] = []

    async def fail_on_three(n: int) -> None:
        ran.append(n)
        if n == 3:
            raise RuntimeError("three")

    async def work() -> None:
        enqueue(client, 10)
        async with working(client, fail_on_three):
            await until(lambda: len(ran) == 10)

    asyncio.run(work())
    failed = FailedJobRegistry(QUEUE, connection=client, serializer=JSONSerializer)

    assert failed.get_job_ids() == ["job-3"]
    assert 0 < client.ttl("rq:job:job-3") <= 3600


def test_a_function_that_is_not_allowed_is_not_called(client: redis.Redis) -> None:
    async def work() -> None:
        queue_of(client).enqueue("os.getpid", job_id="intruder")
        enqueue(client, 1)
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())
    job = Job.fetch("intruder", connection=client, serializer=JSONSerializer)

    assert job.get_status() == "failed"
    assert job.return_value() is None


def test_a_job_of_a_stock_producer_runs(client: redis.Redis) -> None:
    ran: list[object] = []

    async def note(*arguments: object) -> None:
        ran.append(arguments)

    async def work() -> None:
        queue_of(client).enqueue(WORK, "a", 1)
        async with working(client, note):
            await until(lambda: ran)

    asyncio.run(work())

    assert ran == [("a", 1)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client: client.delete("rq:job:job-0"),
        lambda client: (client.delete("rq:job:job-0"), client.set("rq:job:job-0", "text")),
        lambda client: client.hdel("rq:job:job-0", "data"),
        lambda client: client.hset("rq:job:job-0", "data", "no json"),
        lambda client: client.hset("rq:job:job-0", "status", "zzz"),
        lambda client: client.hset("rq:job:job-0", "meta", "{"),
    ],
    ids=["no hash", "no hash but a string", "no data", "bad data", "bad status", "bad meta"],
)
def test_a_malformed_job_does_not_stop_the_worker(
    client: redis.Redis, spoil: Callable[[redis.Redis], object]
) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 5)
        spoil(client)
        async with working(client, note):
            await until(lambda: {1, 2, 3, 4} <= set(ran))

    asyncio.run(work())

    assert len(queue_of(client)) == 0


def test_the_same_job_id_twice_in_the_list_runs_once(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 1)
        client.rpush("rq:queue:work", "job-0")
        enqueue(client, 1, first=1)
        async with working(client, note):
            await until(lambda: 1 in ran)

    asyncio.run(work())

    assert sorted(ran) == [0, 1]


def test_no_job_starts_while_suspended(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        suspend(client)
        enqueue(client, 5)
        async with working(client, note) as worker:
            await until(lambda: worker.last_claim is not None and worker.last_claim.suspended)
            assert ran == []
            resume(client)
            await until(lambda: len(ran) == 5)

    asyncio.run(work())


def test_rq_lists_the_worker_until_it_stops(client: redis.Redis) -> None:
    async def work() -> None:
        async with working(client) as worker:
            await until(
                lambda: (
                    [w.name for w in BaseWorker.all(connection=client)]
                    == [worker.registration.name]
                )
            )

    asyncio.run(work())

    assert BaseWorker.all(connection=client) == []


def test_a_worker_registers_again_after_a_flush(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        async with working(client, note) as worker:
            await until(lambda: client.exists(worker.registration.key))
            client.flushall()
            enqueue(client, 1)
            await until(lambda: ran == [0])
            await until(lambda: client.exists(worker.registration.key))

    asyncio.run(work())


def test_a_stopping_worker_finishes_its_jobs_and_claims_no_others(client: redis.Redis) -> None:
    ended: list[int] = []
    gate = asyncio.Event()

    async def wait_at_gate(n: int) -> None:
        await gate.wait()
        ended.append(n)

    async def work() -> None:
        enqueue(client, 10)
        async with working(client, wait_at_gate, slots=4) as worker:
            await until(lambda: worker.slots.free == 0)
            asyncio.get_running_loop().call_later(0.05, gate.set)

    asyncio.run(work())

    assert sorted(ended) == [0, 1, 2, 3]
    assert len(queue_of(client)) == 6
