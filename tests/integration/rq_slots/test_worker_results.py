"""What a worker has not yet written: while Redis is away or full, and when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from rq_slots.worker import SlotWorker
from support.cutting_proxy import Loss, cutting_proxy, is_call
from support.rq import (
    FAILED,
    STARTED,
    a_worker,
    enqueue,
    redis_at,
    running,
    sample,
    until,
    working,
)

# What waits to be written


def test_no_more_waits_to_be_written_than_there_are_slots(
    client: redis.Redis, redis_url: str
) -> None:
    ran: list[int] = []
    most = 0.0
    gate = asyncio.Event()

    async def hold(n: int) -> None:
        await gate.wait()
        ran.append(n)

    async def work(behind_proxy: redis.Redis) -> None:
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
            proxy.mend()
            await until(lambda: len(ran) == 20)
            await until(lambda: sample("rq_slots_jobs_unwritten") == 0)

    before = sample("rq_slots_redis_calls_failed_total")
    with cutting_proxy(redis_url) as proxy, redis_at(proxy.url) as behind_proxy:
        asyncio.run(work(behind_proxy))

    assert most == 3
    assert sorted(ran) == list(range(20))
    assert sample("rq_slots_redis_calls_failed_total") > before


# What is left to do when it stops


@asynccontextmanager
async def draining(worker: SlotWorker) -> AsyncIterator[None]:
    """The worker from its stop on, once it has begun a job; it has left when the context ends."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await until(lambda: worker.registration.connection.zcard(STARTED))
    stop.set()
    await running
    leaving = asyncio.create_task(worker.drain(timeout_s=60))
    yield
    await leaving


def leases(client: redis.Redis) -> list[tuple[bytes, float]]:
    return client.zrange(STARTED, 0, -1, withscores=True)


def test_jobs_that_are_waited_for_keep_their_leases_and_others_are_ended(
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


def test_timeouts_hold_while_jobs_are_waited_for(client: redis.Redis) -> None:
    async def hold(_: int) -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        enqueue(client, 1)
        client.hset("rq:job:job-0", "timeout", 1)
        async with draining(a_worker(client, hold)):
            await until(lambda: client.zscore(FAILED, "job-0") is not None)

    asyncio.run(work())


def test_a_call_that_is_lost_when_it_signs_off_is_made_again(
    client: redis.Redis, redis_url: str
) -> None:
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def work() -> None:
        enqueue(client, 1)
        with cutting_proxy(redis_url) as proxy, redis_at(proxy.url) as behind_proxy:
            async with draining(a_worker(behind_proxy, hold)):
                proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
                gate.set()

    asyncio.run(work())

    assert client.keys("rq:job:*") == []
    assert client.smembers("rq:workers") == set()


# A Redis that is full


def test_what_ends_makes_room_beside_a_job_that_goes_on(client: redis.Redis) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def hold(n: int) -> None:
        await gates[n].wait()

    async def work() -> None:
        enqueue(client, 2)
        async with working(client, hold, slots=2) as worker:
            await until(lambda: client.zcard(STARTED) == 2)
            client.config_set("maxmemory", 1)
            try:
                await until(lambda: worker.without_redis)  # the record of those that run, or a beat
                gates[0].set()
                await until(lambda: not client.exists("rq:job:job-0"))
            finally:
                client.config_set("maxmemory", 0)
                gates[1].set()

    asyncio.run(work())
