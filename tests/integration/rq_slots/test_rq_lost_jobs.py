"""Jobs that RQ 3.0.0 loses or runs twice, and the slot worker does not."""

import asyncio
import time

import pytest
import redis
from rq import Retry, Worker
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from rq_slots.worker import SlotWorker
from support.cutting_proxy import CuttingProxy, Loss, is_call
from support.rq import (
    AN_HOUR_S,
    INTERMEDIATE,
    LIST,
    QUEUE,
    STARTED,
    WORK,
    claimed_by_a_dead_worker,
    enqueue,
    lease_s,
    places,
    queue_of,
    scores,
    stock_worker,
    until,
    working,
)
from support.rq_functions import FAIL, NOTE, notes

# Job.retry(interval) writes the status outside its pipeline


def test_a_stock_worker_that_dies_during_a_retry_loses_the_job(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    queue_of(client).enqueue(FAIL, job_id="lost", retry=Retry(3, [5]))
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"HSET", b"scheduled"), for_good=True)
    with pytest.raises(redis.ConnectionError):
        stock_worker(behind_proxy).work(burst=True)
    StartedJobRegistry(QUEUE, connection=client, serializer=JSONSerializer).cleanup(
        time.time() + AN_HOUR_S
    )

    assert client.hget("rq:job:lost", "status") == b"scheduled"
    assert places(client, "lost") == []


def test_hints_have_no_retries_of_rq(client: redis.Redis) -> None:
    enqueue(client, 1)
    job = Job.fetch("job-0", connection=client, serializer=JSONSerializer)

    assert not job.should_retry
    assert not {"retries_left", "retry_intervals"} & {
        str(field, "ascii") for field in client.hgetall("rq:job:job-0") if isinstance(field, bytes)
    }


# A worker on two queues pops without the intermediate list


def test_a_stock_worker_on_two_queues_that_dies_after_its_pop_loses_the_job(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE, job_id="lost")
    worker = stock_worker(stock, queues=[QUEUE, "other"])
    worker.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
    worker.dequeue_job_and_maintain_ttl(None)

    assert client.hget("rq:job:lost", "status") == b"queued"
    assert places(client, "lost") == []


def test_a_slot_worker_has_one_queue_and_pops_to_the_intermediate_list(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    async def work() -> SlotWorker:
        proxy.cut(
            Loss.REQUEST, lambda command: is_call(command, b"EVALSHA", b"job-0"), for_good=True
        )
        async with working(behind_proxy) as worker:
            await until(lambda: proxy.has_passed(b"BLMOVE"))
            enqueue(client, 1)
            await until(proxy.was_cut.is_set)
        return worker

    worker = asyncio.run(work())

    assert worker.registration.queue_names() == [QUEUE]
    assert places(client, "job-0") == ["intermediate"]


# A dead worker's job is recovered after 90 to 840 s


def test_a_dead_stock_worker_holds_its_job_for_90_s_and_up_to_10_minutes_more(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE)
    worker = Worker([QUEUE], connection=stock, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    job, _ = found
    worker.prepare_execution(job)

    assert 80 < lease_s(client) <= 90
    assert worker.maintenance_interval == 600


def test_a_dead_simple_worker_holds_its_job_for_240_s(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE)
    worker = stock_worker(stock)
    worker.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    job, _ = found
    worker.prepare_execution(job)

    assert 230 < lease_s(client) <= 240


def test_a_dead_slot_worker_holds_its_job_for_20_s(client: redis.Redis) -> None:
    enqueue(client, 1)
    claimed_by_a_dead_worker(client, 1)

    assert 10 < lease_s(client) <= 20


@pytest.mark.parametrize(("expired_s", "left"), [(20, ["started"]), (31, [])])
def test_a_hint_is_swept_30_s_after_its_lease(
    client: redis.Redis, expired_s: float, left: list[str]
) -> None:
    async def work() -> None:
        enqueue(client, 1)
        claimed_by_a_dead_worker(client, 1)
        ((member, _),) = scores(client, STARTED)
        client.zadd(STARTED, {member: client.time()[0] - expired_s})
        async with working(client) as worker:
            await until(lambda: worker.last_claim)  # a worker sweeps before its first claim

    asyncio.run(work())

    assert places(client, "job-0") == left
    assert client.exists("rq:job:job-0") == len(left)


# The same job id twice runs twice


def test_a_stock_worker_runs_the_same_job_id_twice(client: redis.Redis, stock: redis.Redis) -> None:
    for word in ("first", "second"):
        queue_of(client).enqueue(NOTE, word, job_id="twin")
    stock_worker(stock).work(burst=True)

    assert notes(client) == ["second", "second"]


@pytest.mark.parametrize("twin", ["of a hint", "of a stock producer"])
def test_a_slot_worker_runs_the_same_job_id_once(client: redis.Redis, twin: str) -> None:
    ran: list[object] = []

    async def note(*arguments: object) -> None:
        ran.append(arguments)

    async def work() -> None:
        if twin == "of a hint":
            enqueue(client, 1)
            enqueue(client, 1)
        else:
            queue_of(client).enqueue(WORK, 0, job_id="twin")
            queue_of(client).enqueue(WORK, 0, job_id="twin")
        enqueue(client, 1, first=9)
        async with working(client, note, slots=1):
            await until(lambda: (9,) in ran)

    asyncio.run(work())

    assert ran == [(0,), (9,)]


# RQ fails a job that a worker holds in the intermediate list


def test_stock_maintenance_fails_a_job_that_its_worker_holds_while_it_waits(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue = queue_of(client)
    queue.enqueue(NOTE, job_id="held")
    client.lmove(LIST, INTERMEDIATE, "LEFT", "RIGHT")
    worker = stock_worker(stock)
    queue.intermediate_queue.cleanup(worker, queue)
    client.set(f"{INTERMEDIATE}:first_seen:held", time.time() - 61)
    queue.intermediate_queue.cleanup(worker, queue)

    assert client.hget("rq:job:held", "status") == b"failed"
    assert places(client, "held") == ["failed"]


def test_no_job_waits_in_the_intermediate_list_while_all_slots_are_busy(
    client: redis.Redis,
) -> None:
    gate = asyncio.Event()

    async def wait_at_gate(_: int) -> None:
        await gate.wait()

    async def work() -> None:
        enqueue(client, 5)
        async with working(client, wait_at_gate, slots=2):
            await until(lambda: client.zcard(STARTED) == 2)
            await stays_in_the_list(client, 3)
            gate.set()
            await until(lambda: not client.exists(LIST))

    asyncio.run(work())


def test_no_job_waits_in_the_intermediate_list_while_the_window_is_full(
    client: redis.Redis,
) -> None:
    async def work() -> None:
        enqueue(client, 5)
        async with working(client, limit=2) as worker:
            await until(lambda: worker.last_claim and worker.last_claim.tokens_left == 0)
            await stays_in_the_list(client, 3)

    asyncio.run(work())


async def stays_in_the_list(client: redis.Redis, count: int) -> None:
    """Checks until the worker has made three more calls that nothing leaves the list."""
    probes: set[bytes] = set()

    def nothing_was_taken() -> bool:
        with client.pipeline() as pipeline:  # at one time
            pipeline.llen(LIST)
            pipeline.llen(INTERMEDIATE)
            pipeline.get(f"rq:probe:{QUEUE}")
            listed, held, probe = pipeline.execute()
        assert (listed, held) == (count, 0)
        probes.add(probe)
        return len(probes) > 3

    await until(nothing_was_taken)
