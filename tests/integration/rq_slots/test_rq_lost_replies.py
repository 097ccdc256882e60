"""What RQ 3.0.0 does when a reply of Redis is lost, and what the slot worker does."""

import asyncio

import pytest
import redis
from rq import Callback

from rq_slots.enqueue import SCRIPT
from rq_slots.rate_window import RateWindow
from support.cutting_proxy import CuttingProxy, Loss, is_call
from support.redis_process import RedisProcess
from support.rq import (
    FAILED,
    FIRST_SEEN,
    INTERMEDIATE,
    LIST,
    STARTED,
    WINDOW,
    WORK,
    claims_again,
    enqueue,
    expire_leases,
    jobs_of,
    places,
    queue_of,
    recorder,
    redis_at,
    result_of,
    stock_worker,
    until,
    working,
)
from support.rq_functions import ADD, NOTE, notes

# Repeating a call whose reply is lost pushes twice, or orphans a move


def lose_reply_to_push(proxy: CuttingProxy) -> None:
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EXEC") and proxy.has_passed(b"RPUSH"))


def test_a_stock_client_enqueues_twice_when_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy
) -> None:
    with redis.Redis(port=proxy.port) as stock:
        lose_reply_to_push(proxy)
        queue_of(stock).enqueue(NOTE, job_id="twin")

    assert proxy.was_cut.is_set()
    assert places(client, "twin") == ["list", "list"]


def test_a_client_without_retries_enqueues_once_and_raises_when_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    client.script_load(SCRIPT)
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA"))
    with pytest.raises(redis.ConnectionError):
        enqueue(behind_proxy, 1)

    assert places(client, "job-0") == ["list"]


def test_a_stock_worker_orphans_a_move_when_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy
) -> None:
    queue = queue_of(client)
    for job_id in ("orphan", "next"):
        queue.enqueue(NOTE, job_id=job_id)
    with redis.Redis.from_url(proxy.url) as stock:
        proxy.cut(Loss.REPLY, lambda command: is_call(command, b"LMOVE"))
        stock_worker(stock).work(burst=True)

    assert notes(client) == [""]
    assert places(client, "orphan") == ["intermediate"]
    assert places(client, "next") == ["finished"]


def test_a_client_without_retries_moves_once_when_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    enqueue(client, 2)
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"BLMOVE"))
    with pytest.raises(redis.ConnectionError):
        behind_proxy.blmove(LIST, INTERMEDIATE, 1, "LEFT", "RIGHT")

    assert places(client, "job-0") == ["intermediate"]
    assert places(client, "job-1") == ["list"]


def test_a_hint_orphaned_by_a_lost_reply_is_swept_and_the_next_runs(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    ran, note = recorder()

    async def work() -> None:
        proxy.cut(Loss.REPLY, lambda command: is_call(command, b"BLMOVE"))
        async with working(behind_proxy, note):
            await until(lambda: proxy.has_passed(b"BLMOVE"))
            enqueue(client, 1)
            await until(proxy.was_cut.is_set)
            enqueue(client, 1, first=1)
            await until(lambda: ran == [1])
        assert places(client, "job-0") == ["intermediate"]
        client.zadd(FIRST_SEEN, {"job-0": client.time()[0] - 31})
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert places(client, "job-0") == []


# A Redis outage at a job's end turns its success into a failure


def test_a_stock_worker_reports_a_success_as_failed_when_its_last_call_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    queue_of(client).enqueue(ADD, 1, 2, job_id="sum")
    proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"WATCH", b"rq:job:sum:dependents"))
    stock_worker(behind_proxy).work(burst=True)

    assert proxy.was_cut.is_set()
    assert client.hget("rq:job:sum", "status") == b"failed"


def test_a_slot_worker_writes_a_success_again_when_its_call_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    ran, note = recorder()

    async def work() -> None:
        enqueue(client, 3)
        proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
        async with working(behind_proxy, note):
            await until(proxy.was_cut.is_set)
            await until(lambda: client.keys("rq:job:*") == [])

    asyncio.run(work())

    assert sorted(ran) == [0, 1, 2]
    assert client.zcard(FAILED) == 0


def test_a_slot_worker_writes_a_success_once_when_its_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    async def work() -> object:
        enqueue(client, 3)
        proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
        async with working(behind_proxy, slots=3) as worker:
            await until(proxy.was_cut.is_set)
            await until(lambda: client.keys("rq:job:*") == [])
            await until(lambda: worker.last_claim)
            return client.hget(worker.registration.key, "successful_job_count")

    assert asyncio.run(work()) == b"3"
    assert client.zcard(FAILED) == 0


def test_a_job_that_is_left_to_maintenance_does_not_run_again(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    """Its callback is not allowed, so that only maintenance can end it."""
    ran, note = recorder()

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7, on_success=Callback("os.getpid"))
        async with working(behind_proxy, note, slots=2) as worker:
            await until(lambda: ran)
            await claims_again(worker)
            proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"EVALSHA"))
            await until(proxy.was_cut.is_set)
            await claims_again(worker)

    asyncio.run(work())

    assert ran == [7]


@pytest.mark.parametrize("loss", Loss)
def test_a_failed_job_does_not_run_again_when_its_failure_is_not_written(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis, loss: Loss
) -> None:
    ran: list[int] = []

    async def fail_once(n: int) -> None:
        ran.append(n)
        raise RuntimeError("as requested")

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7)
        proxy.cut(loss, lambda command: is_call(command, b"EXEC") and bool(ran), for_good=True)
        async with working(behind_proxy, fail_once, slots=2) as worker:
            await until(proxy.was_cut.is_set)
            await until(lambda: worker.last_claim is None)
            proxy.restore()
            await claims_again(worker)

    asyncio.run(work())

    assert ran == [7]


def test_a_requeued_claim_keeps_the_token_of_another_start(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    window = RateWindow(client, key=WINDOW, limit=5, shared=True)
    window.merge_known_starts({})
    enqueue(client, 1)
    ours = jobs_of(behind_proxy, limit=5)
    ours.claim(0)
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA"))
    with pytest.raises(redis.RedisError):
        ours.claim(1)
    window.settle(window.take(1), started=["job-0"])  # another process starts it
    ours.requeue_unanswered_claims()

    assert places(client, "job-0") == ["list"]
    assert client.zcard(WINDOW) == 1


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_a_slot_worker_keeps_a_success_until_redis_is_back(
    own_redis: RedisProcess, producer: str
) -> None:
    gate = asyncio.Event()

    async def add(*numbers: int) -> int:
        await gate.wait()
        return sum(numbers)

    async def work(client: redis.Redis, inspector: redis.Redis) -> None:
        enqueue_sum(inspector, producer)
        async with working(client, add) as worker:
            await until(lambda: inspector.zcard(STARTED))
            own_redis.freeze()
            gate.set()
            await until(lambda: worker.without_redis)
            own_redis.thaw()
            await until(lambda: inspector.zcard(STARTED) == 0)

    with redis_at(own_redis.url) as client, own_redis.client() as inspector:
        asyncio.run(work(client, inspector))

        assert inspector.zcard(FAILED) == 0
        if producer == "stock":
            assert result_of(inspector, "sum") == 3


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_a_slot_worker_keeps_a_success_through_an_outage_longer_than_its_lease(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis, producer: str
) -> None:
    gate = asyncio.Event()

    async def add(*numbers: int) -> int:
        await gate.wait()
        return sum(numbers)

    async def work() -> None:
        enqueue_sum(client, producer)
        async with working(behind_proxy, add) as worker:
            await until(lambda: client.keys("rq:execution:*"))
            proxy.cut(Loss.REQUEST, lambda _: True, for_good=True)
            gate.set()
            await until(lambda: worker.without_redis)
            client.delete(*client.keys("rq:execution:*"))  # it lives for 20 s
            proxy.restore()
            await until(lambda: not worker.without_redis)
        expire_leases(client)
        async with working(client) as other:
            await until(lambda: other.last_claim)

    asyncio.run(work())

    assert client.zcard(FAILED) == 0
    if producer == "stock":
        assert result_of(client, "sum") == 3


def enqueue_sum(client: redis.Redis, producer: str) -> None:
    if producer == "ours":
        enqueue(client, 1)
    else:
        queue_of(client).enqueue(WORK, 1, 2, job_id="sum")
