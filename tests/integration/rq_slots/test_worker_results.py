"""Unwritten results of a worker: while Redis is away or full, and when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from rq_slots.worker import SlotWorker
from support.cutting_proxy import CuttingProxy, Loss, is_call
from support.rq import (
    FAILED,
    STARTED,
    a_worker,
    enqueue,
    running,
    sample,
    scores,
    until,
    working,
)

# While Redis is away


def test_at_most_as_many_results_are_unwritten_as_there_are_slots(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    ran: list[int] = []
    most = 0.0
    gate = asyncio.Event()

    async def hold(n: int) -> None:
        await gate.wait()
        ran.append(n)

    async def work() -> None:
        nonlocal most
        enqueue(client, 20)
        worker = a_worker(behind_proxy, hold, slots=3)
        async with running(worker):
            await until(lambda: client.zcard(STARTED) == 3)
            proxy.cut(Loss.REQUEST, lambda _: True, for_good=True)
            gate.set()
            await until(lambda: worker.without_redis)
            await until(lambda: sample("rq_slots_jobs_unwritten") == 3)
            most = sample("rq_slots_jobs_unwritten")
            proxy.restore()
            await until(lambda: len(ran) == 20)
            await until(lambda: sample("rq_slots_jobs_unwritten") == 0)

    before = sample("rq_slots_redis_calls_failed_total")
    asyncio.run(work())

    assert most == 3
    assert sorted(ran) == list(range(20))
    assert sample("rq_slots_redis_calls_failed_total") > before


# While it stops


@asynccontextmanager
async def draining(worker: SlotWorker) -> AsyncIterator[None]:
    """Stops the worker after it has started a job. It has unregistered when the context ends."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: worker.registration.connection.zcard(STARTED))
    stop.set()
    await running
    leaving = asyncio.create_task(worker.drain(timeout_s=60))
    yield
    await leaving


def leases(client: redis.Redis) -> list[tuple[bytes, float]]:
    return scores(client, STARTED)


def test_a_draining_worker_renews_running_jobs_and_ends_the_others(
    client: redis.Redis,
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def hold(n: int) -> None:
        await gates[n].wait()

    async def work() -> None:
        enqueue(client, 2)
        async with draining(a_worker(client, hold)):
            await until(lambda: client.zcard(STARTED) == 2)
            lease = max(until_s for _, until_s in leases(client))
            gates[0].set()
            await until(lambda: not client.exists("rq:job:job-0"))
            await until(lambda: [until_s > lease for _, until_s in leases(client)] == [True])
            gates[1].set()

    asyncio.run(work())

    assert client.zcard(STARTED) == 0


def test_a_draining_worker_cancels_jobs_that_exceed_their_timeout(client: redis.Redis) -> None:
    async def hold(_: int) -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        enqueue(client, 1)
        client.hset("rq:job:job-0", "timeout", 1)
        async with draining(a_worker(client, hold)):
            await until(lambda: client.zscore(FAILED, "job-0") is not None)

    asyncio.run(work())


def test_a_stopping_worker_repeats_its_last_call_when_it_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def work() -> None:
        enqueue(client, 1)
        async with draining(a_worker(behind_proxy, hold)):
            proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
            gate.set()

    asyncio.run(work())

    assert client.keys("rq:job:*") == []
    assert client.smembers("rq:workers") == set()


# A Redis that is full


def test_a_full_redis_gets_memory_from_ended_jobs(client: redis.Redis) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def hold(n: int) -> None:
        await gates[n].wait()

    async def work() -> None:
        enqueue(client, 2)
        async with working(client, hold, slots=2) as worker:
            await until(lambda: client.zcard(STARTED) == 2)
            client.config_set("maxmemory", 1)
            try:
                await until(lambda: worker.without_redis)  # a record or a heartbeat fails
                gates[0].set()
                await until(lambda: not client.exists("rq:job:job-0"))
            finally:
                client.config_set("maxmemory", 0)
                gates[1].set()

    asyncio.run(work())
