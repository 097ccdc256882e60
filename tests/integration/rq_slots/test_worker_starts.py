"""The rate window of a worker, and jobs that go back to their queue."""

import asyncio

import pytest
import redis
from prometheus_client import REGISTRY

from rq_slots.scripts import lua
from support.cutting_proxy import CuttingProxy, Loss, is_call
from support.rq import (
    FAILED,
    LIST,
    QUEUE,
    STARTED,
    WINDOW,
    NotBegun,
    a_worker,
    claims_again,
    enqueue,
    lease_s,
    queue_of,
    recorder,
    running,
    scores,
    until,
    working,
)


def test_known_starts_are_merged_before_a_job_starts_in_a_lost_window(
    client: redis.Redis,
) -> None:
    started, note = recorder()

    async def seven_of_the_last_minute() -> dict[str, float]:
        return {f"earlier-{n}": 30.0 for n in range(7)}

    async def work() -> None:
        enqueue(client, 20)
        async with working(
            client, note, limit=10, recent_starts=seven_of_the_last_minute
        ) as worker:
            await until(
                lambda: worker.last_claim is not None and worker.last_claim.tokens_left == 0
            )
            await until(lambda: len(started) == 3)
            client.flushall()
            enqueue(client, 20, first=20)
            await until(lambda: len(started) == 6)
            await until(lambda: client.zcard(WINDOW) == 10)

    asyncio.run(work())

    assert started == [0, 1, 2, 20, 21, 22]


def test_a_job_that_could_not_begin_goes_back_with_its_token(client: redis.Redis) -> None:
    ran: list[int] = []
    away = True

    async def need_the_store(n: int) -> None:
        if away:
            raise NotBegun("away")
        ran.append(n)

    async def answers() -> bool:
        return not away

    def returned() -> float:
        return REGISTRY.get_sample_value("rq_slots_jobs_returned_total", {"queue": QUEUE}) or 0.0

    before = returned()

    async def work() -> None:
        nonlocal away
        enqueue(client, 5)
        async with working(client, need_the_store, slots=2, limit=5, store_answers=answers):
            await until(lambda: returned() > before)
            await until(lambda: len(queue_of(client).job_ids) == 5)
            assert client.zcard(WINDOW) == 0
            assert queue_of(client).job_ids[2:] == ["job-2", "job-3", "job-4"]
            away = False
            await until(lambda: len(ran) == 5)

    asyncio.run(work())

    assert sorted(ran) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limit", [0, 5])
def test_jobs_of_an_unanswered_claim_go_back_with_their_tokens(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis, limit: int
) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 5)
        client.script_load(lua("executions", "claim"))
        proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", LIST.encode()))
        async with working(behind_proxy, note, slots=4, limit=limit):
            await until(proxy.was_cut.is_set)
            await until(lambda: len(ran) == 5)  # long before their leases end

    asyncio.run(work())

    assert sorted(ran) == [0, 1, 2, 3, 4]
    assert client.zcard(STARTED) == 0
    assert client.zcard(WINDOW) == limit


def test_a_job_that_could_not_begin_runs_again_without_a_store_to_check(
    client: redis.Redis,
) -> None:
    ran: list[int] = []

    async def refuse_at_first(n: int) -> None:
        ran.append(n)
        if len(ran) == 1:
            raise NotBegun("full")

    async def work() -> None:
        enqueue(client, 1)
        async with working(client, refuse_at_first):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert ran == [0, 0]
    assert client.zcard(FAILED) == 0


def test_known_starts_are_merged_again_after_a_short_outage(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    """Redis goes away while the worker waits for a slot, and the next call finds it back."""
    merges: list[int] = []
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def starts() -> dict[str, float]:
        merges.append(1)
        return {}

    async def work() -> None:
        worker = a_worker(behind_proxy, hold, slots=1, limit=5, recent_starts=starts)
        enqueue(client, 1)
        async with running(worker):
            await until(lambda: merges and worker.slots.free == 0)
            await claims_again(worker)
            for _ in range(2):  # each takes 0.5 s for a slot and then fails, so that 1 s passes
                proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"EVALSHA"))
                await until(proxy.was_cut.is_set)
            await until(lambda: worker.without_redis)
            await until(lambda: not worker.without_redis)
            await until(lambda: len(merges) == 2)
            gate.set()

    asyncio.run(work())


@pytest.mark.parametrize("job_lease_s", [20, 60])
def test_a_started_job_has_the_lease_of_the_setting(client: redis.Redis, job_lease_s: int) -> None:
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def work() -> None:
        enqueue(client, 1)
        async with working(client, hold, job_lease_s=job_lease_s):
            await until(lambda: client.zcard(STARTED))
            assert job_lease_s - 5 < lease_s(client) <= job_lease_s
            gate.set()

    asyncio.run(work())


def test_a_lease_is_renewed_before_it_ends(client: redis.Redis) -> None:
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def work() -> None:
        enqueue(client, 1)
        async with working(client, hold, job_lease_s=2):
            await until(lambda: client.zcard(STARTED))
            ((_, first),) = scores(client, STARTED)
            await until(lambda: client.zrangebyscore(STARTED, first + 2, "+inf"))
            gate.set()

    asyncio.run(work())
