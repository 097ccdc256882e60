"""What RQ 3.0.0 gets wrong, hole by hole: first RQ itself, then how ours does without it."""

import asyncio
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Callback, Retry, Worker
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import (
    EXECUTE,
    ORDER_HINT_PREFIX,
    ORDER_QUEUE,
    STATUS_HINT_PREFIX,
    order_hint,
    status_hint,
    status_queue,
)
from order_engine.execution.messages.seals import Seal
from rq_slots.allowlist import allowlisted
from rq_slots.enqueue import enqueue as enqueue_jobs
from rq_slots.errors import FunctionNotAllowed
from rq_slots.job_queue import JobQueue
from rq_slots.rate_window import RateWindow
from rq_slots.worker import SlotWorker
from support.builders import NOON, ORDER_ID, an_event
from support.cutting_proxy import CuttingProxy, cutting_proxy, is_call
from support.lossy_proxy import Loss
from support.redis_process import RedisProcess, redis_process
from support.rq import (
    FAILED,
    FIRST_SEEN,
    HINT_PREFIX,
    INTERMEDIATE,
    LIST,
    QUEUE,
    STARTED,
    WINDOW,
    WORK,
    a_worker,
    claims_again,
    enqueue,
    nothing,
    places,
    queue_of,
    redis_at,
    stock_worker,
    until,
    working,
)
from support.rq_functions import ADD, FAIL, NOTE, ON_FAILURE, ON_STOP, ON_SUCCESS, notes

AN_HOUR_S = 3600


@pytest.fixture
def stock(redis_url: str) -> Iterator[redis.Redis]:
    """A client for RQ's own worker, which changes its timeout."""
    with redis.Redis.from_url(redis_url) as stock:
        yield stock


@pytest.fixture
def proxy(redis_url: str) -> Iterator[CuttingProxy]:
    with cutting_proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(proxy: CuttingProxy) -> Iterator[redis.Redis]:
    """Our client, on the way that can be cut."""
    with redis_at(proxy.url) as behind_proxy:
        yield behind_proxy


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_process(tmp_path) as process:
        yield process


async def fail(*_: object) -> None:
    raise RuntimeError("as it was asked to")


def jobs_of(client: redis.Redis, *, limit: int = 0) -> JobQueue:
    """The queue as a worker of ours sees it."""
    return JobQueue(
        QUEUE,
        client=client,
        functions={WORK: nothing},
        window=RateWindow(client, key=WINDOW, limit=limit),
        worker_name="dead",
        worker_key="rq:worker:dead",
        executions_key="rq:worker:dead:executions",
        stale_after_s=0,
        hint_prefix=HINT_PREFIX,
    )


def claimed_by_a_worker_that_died(client: redis.Redis, most: int) -> None:
    """Jobs started as ours starts them, and nobody there to end them."""
    jobs_of(client).claim(most)


def lease_s(client: redis.Redis) -> float:
    """What is left of the lease of the one job that is started."""
    ((_, until),) = client.zrange(STARTED, 0, -1, withscores=True)
    seconds, microseconds = client.time()
    return until - seconds - microseconds / 1e6


# Job.retry(interval) writes the status outside its pipeline


def test_a_stock_worker_that_dies_within_a_retry_loses_the_job(
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


def test_hints_know_no_retry_of_rq(client: redis.Redis) -> None:
    enqueue(client, 1)
    job = Job.fetch("job-0", connection=client, serializer=JSONSerializer)

    assert not job.should_retry
    assert not {"retries_left", "retry_intervals"} & {
        field.decode() for field in client.hgetall("rq:job:job-0")
    }


# A worker on two queues pops without the intermediate list


def test_a_stock_worker_on_two_queues_that_dies_after_its_pop_loses_the_job(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE, job_id="lost")
    worker = stock_worker(stock, queues=[QUEUE, "other"])
    worker.register_birth()
    worker.dequeue_job_and_maintain_ttl(None)

    assert client.hget("rq:job:lost", "status") == b"queued"
    assert places(client, "lost") == []


def test_a_worker_of_ours_has_one_queue_and_what_it_popped_is_in_the_intermediate_list(
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

    assert worker.queue_names() == [QUEUE]
    assert places(client, "job-0") == ["intermediate"]


# A dead worker's job is recovered after 90 to 840 s


def test_a_stock_worker_that_died_holds_its_job_for_90_s_and_up_to_ten_minutes_more(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE)
    worker = Worker([QUEUE], connection=stock, serializer=JSONSerializer)
    worker.register_birth()
    job, _ = worker.dequeue_job_and_maintain_ttl(None)
    worker.prepare_execution(job)

    assert 80 < lease_s(client) <= 90
    assert worker.maintenance_interval == 600


def test_a_simple_stock_worker_that_died_holds_its_job_for_longer_still(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(NOTE)
    worker = stock_worker(stock)
    worker.register_birth()
    job, _ = worker.dequeue_job_and_maintain_ttl(None)
    worker.prepare_execution(job)

    assert 230 < lease_s(client) <= 240


def test_a_worker_of_ours_holds_its_job_for_20_s(client: redis.Redis) -> None:
    enqueue(client, 1)
    claimed_by_a_worker_that_died(client, 1)

    assert 10 < lease_s(client) <= 20


@pytest.mark.parametrize(("expired_s", "left"), [(20, ["started"]), (31, [])])
def test_a_hint_is_swept_30_s_after_its_lease(
    client: redis.Redis, expired_s: float, left: list[str]
) -> None:
    async def work() -> None:
        enqueue(client, 1)
        claimed_by_a_worker_that_died(client, 1)
        (member,) = client.zrange(STARTED, 0, -1)
        client.zadd(STARTED, {member: client.time()[0] - expired_s})
        async with working(client) as worker:
            await until(lambda: worker.last_claim)  # it sweeps once in any case

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
def test_ours_runs_the_same_job_id_once(client: redis.Redis, twin: str) -> None:
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


# A job held in the intermediate list is taken for stuck


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
        async with working(client, wait_at_gate, slots=2) as worker:
            await until(lambda: worker.slots.free == 0)
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
            await until(lambda: worker.last_claim and worker.last_claim.room == 0)
            await stays_in_the_list(client, 3)

    asyncio.run(work())


async def stays_in_the_list(client: redis.Redis, count: int) -> None:
    """Looked at until the worker has made three more calls: nothing has left the list."""
    probes: set[bytes] = set()

    def nothing_was_taken() -> bool:
        with client.pipeline() as pipeline:  # one moment
            pipeline.llen(LIST).llen(INTERMEDIATE).get(f"rq:probe:{QUEUE}")
            listed, held, probe = pipeline.execute()
        assert (listed, held) == (count, 0)
        probes.add(probe)
        return len(probes) > 3

    await until(nothing_was_taken)


# Whoever repeats a call whose reply is lost pushes twice, or orphans a move


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


def test_our_client_enqueues_once_and_says_that_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    lose_reply_to_push(proxy)
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


def test_our_client_moves_once_when_the_reply_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    enqueue(client, 2)
    proxy.cut(Loss.REPLY, lambda command: is_call(command, b"BLMOVE"))
    with pytest.raises(redis.ConnectionError):
        behind_proxy.blmove(LIST, INTERMEDIATE, 1, "LEFT", "RIGHT")

    assert places(client, "job-0") == ["intermediate"]
    assert places(client, "job-1") == ["list"]


def test_a_hint_orphaned_by_a_lost_reply_is_swept_and_the_next_ones_run(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

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


def test_a_stock_worker_calls_a_success_failed_when_one_call_is_lost_at_its_end(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    queue_of(client).enqueue(ADD, 1, 2, job_id="sum")
    proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"WATCH", b"rq:job:sum:dependents"))
    stock_worker(behind_proxy).work(burst=True)

    assert proxy.was_cut.is_set()
    assert client.hget("rq:job:sum", "status") == b"failed"


def test_ours_writes_a_success_again_when_the_call_is_lost_at_its_end(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 3)
        proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
        async with working(behind_proxy, note):
            await until(proxy.was_cut.is_set)
            await until(lambda: client.keys("rq:job:*") == [])

    asyncio.run(work())

    assert sorted(ran) == [0, 1, 2]
    assert client.zcard(FAILED) == 0


def test_ours_writes_a_success_once_when_the_reply_is_lost_at_its_end(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    async def work() -> bytes | None:
        enqueue(client, 3)
        proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", b"succeeded"))
        async with working(behind_proxy, slots=3) as worker:
            await until(proxy.was_cut.is_set)
            await until(lambda: client.keys("rq:job:*") == [])
            await until(lambda: worker.last_claim)
            return client.hget(worker.registration.key, "successful_job_count")

    assert asyncio.run(work()) == b"3"
    assert client.zcard(FAILED) == 0


def test_a_job_that_is_left_to_rqs_maintenance_does_not_run_again(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis
) -> None:
    """Its callback is not allowed, so that nobody can end it in order."""
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

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
def test_a_job_whose_failure_could_not_be_written_does_not_run_again(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis, loss: Loss
) -> None:
    ran: list[int] = []

    async def fail_once(n: int) -> None:
        ran.append(n)
        raise RuntimeError("as it was asked to")

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7)
        proxy.cut(loss, lambda command: is_call(command, b"EXEC") and bool(ran), for_good=True)
        async with working(behind_proxy, fail_once, slots=2) as worker:
            await until(proxy.was_cut.is_set)
            await until(lambda: worker.last_claim is None)
            proxy.mend()
            await claims_again(worker)

    asyncio.run(work())

    assert ran == [7]


def test_what_is_called_back_leaves_the_token_of_another_start(
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
    window.settle(window.take(1), started=["job-0"])  # as recovery starts it elsewhere
    ours.requeue_unanswered_claims()

    assert places(client, "job-0") == ["list"]
    assert client.zcard(WINDOW) == 1


@pytest.mark.parametrize("producer", ["ours", "stock"])
def test_ours_keeps_a_success_until_redis_is_back(own_redis: RedisProcess, producer: str) -> None:
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
def test_ours_keeps_a_success_through_an_outage_longer_than_its_lease(
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
            proxy.mend()
            await until(lambda: not worker.without_redis)
        time_passes(client)
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


def time_passes(client: redis.Redis) -> None:
    """Leases have run out, and the last maintenance was long ago."""
    for member, score in client.zrange(STARTED, 0, -1, withscores=True):
        client.zadd(STARTED, {member: score - AN_HOUR_S})
    client.delete(f"rq:maintenance:{QUEUE}")


def result_of(client: redis.Redis, job_id: str) -> object:
    return Job.fetch(job_id, connection=client, serializer=JSONSerializer).return_value()


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


def test_one_malformed_job_goes_to_quarantine_and_ours_goes_on(client: redis.Redis) -> None:
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


def test_one_malformed_job_does_not_end_our_maintenance_for_others(client: redis.Redis) -> None:
    """It stands in the intermediate list, where RQ's maintenance stumbles over it."""

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="bad")
        queue_of(client).enqueue(WORK, job_id="abandoned")
        client.lmove(LIST, INTERMEDIATE, "LEFT", "RIGHT")
        client.hset("rq:job:bad", "status", "zzz")
        claimed_by_a_worker_that_died(client, 1)
        time_passes(client)
        async with working(client):
            await until(lambda: places(client, "abandoned") == ["failed"])

    asyncio.run(work())

    assert 0 < client.ttl(f"rq:maintenance:{QUEUE}") <= 30


# The JSON serializer lets any importable function run


def enqueue_call(client: redis.Redis, job_id: str, name: str, instance: object) -> None:
    """A job as somebody writes it who can reach Redis and does not ask RQ."""
    call = json.dumps([name, instance, [], {}])
    fields = {"status": "queued", "origin": QUEUE, "data": zlib.compress(call.encode())}
    client.hset(f"rq:job:{job_id}", mapping=fields)
    client.rpush(LIST, job_id)


INTRUDERS = [("os.getpid", None), ("upper", "text")]


@pytest.mark.parametrize(
    ("name", "instance", "result"),
    [("os.getpid", None, os.getpid()), ("upper", "text", "TEXT")],
    ids=["function", "method"],  # the same in every process of a parallel run
)
def test_a_stock_worker_calls_whatever_a_hash_names(
    client: redis.Redis, stock: redis.Redis, name: str, instance: object, result: object
) -> None:
    enqueue_call(client, "intruder", name, instance)
    stock_worker(stock).work(burst=True)

    assert result_of(client, "intruder") == result


@pytest.mark.parametrize(("name", "instance"), INTRUDERS)
def test_ours_calls_only_what_is_on_its_list(
    client: redis.Redis, name: str, instance: object
) -> None:
    async def work() -> None:
        enqueue_call(client, "intruder", name, instance)
        async with working(client):
            await until(lambda: client.hget("rq:job:intruder", "status") == b"failed")

    asyncio.run(work())

    assert result_of(client, "intruder") is None


@pytest.mark.parametrize(("name", "instance"), INTRUDERS)
def test_a_stock_worker_with_our_job_class_calls_only_what_is_on_its_list(
    client: redis.Redis, stock: redis.Redis, name: str, instance: object
) -> None:
    enqueue_call(client, "intruder", name, instance)
    queue_of(client).enqueue(NOTE, "allowed")
    stock_worker(stock, job_class=allowlisted({NOTE})).work(burst=True)

    assert client.hget("rq:job:intruder", "status") == b"failed"
    assert result_of(client, "intruder") is None
    assert notes(client) == ["allowed"]


def test_a_stock_worker_calls_whatever_callback_a_hash_names(
    client: redis.Redis, stock: redis.Redis
) -> None:
    enqueue_with_callbacks(client)
    stock_worker(stock).work(burst=True)

    assert notes(client) == ["good succeeded with 3", "bad failed with RuntimeError"]


def test_a_stock_worker_with_our_job_class_calls_no_callback_beside_its_list(
    client: redis.Redis, stock: redis.Redis
) -> None:
    enqueue_with_callbacks(client)
    stock_worker(stock, job_class=allowlisted({ADD, FAIL})).work(burst=True)

    assert notes(client) == []


def test_ours_calls_no_callback_beside_its_list(client: redis.Redis) -> None:
    ran: list[str] = []

    async def add(first: int, second: int) -> int:
        ran.append("add")
        return first + second

    async def fail() -> None:
        ran.append("fail")
        raise RuntimeError("as it was asked to")

    async def work() -> None:
        enqueue_with_callbacks(client)
        async with working(client, functions={ADD: add, FAIL: fail}):
            await until(lambda: sorted(ran) == ["add", "fail"])
        time_passes(client)
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
def test_each_kind_of_callback_is_refused_that_is_not_on_the_list(
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


def test_callbacks_on_the_list_and_none_at_all_are_as_rq_has_them(client: redis.Redis) -> None:
    queue_of(client).enqueue(NOTE, job_id="guest", on_success=Callback(ON_SUCCESS))
    job = allowlisted({ON_SUCCESS}).fetch("guest", connection=client, serializer=JSONSerializer)

    assert job.success_callback.__name__ == "on_success"
    assert job.failure_callback is None
    assert job.stopped_callback is None


# A killed worker's name is refused


def test_a_stock_worker_may_not_take_the_name_of_one_that_was_killed_for_480_s(
    client: redis.Redis, stock: redis.Redis
) -> None:
    stock_worker(stock, name="pod-0").register_birth()

    with pytest.raises(ValueError, match="active worker named 'pod-0'"):
        stock_worker(stock, name="pod-0").register_birth()
    assert 470 < client.ttl("rq:worker:pod-0") <= 480


def test_a_worker_of_ours_starts_beside_what_is_left_of_one_that_was_killed(
    client: redis.Redis,
) -> None:
    killed = a_worker(client)
    killed.ip_address = "unknown"
    killed.register_birth()

    async def work() -> str:
        async with working(client) as worker:
            await until(lambda: client.exists(worker.registration.key))
            return worker.registration.name

    assert asyncio.run(work()) != killed.name
    assert 0 < client.ttl(killed.key) <= 90


# A half-open connection is noticed after 415 s


def test_a_stock_worker_stretches_the_socket_timeout_to_415_s(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=1) as client:
        stock_worker(client)

        assert client.connection_pool.connection_kwargs["socket_timeout"] == 415


def test_a_worker_of_ours_leaves_the_socket_timeout_at_1_s(client: redis.Redis) -> None:
    worker = a_worker(client)

    assert worker.registration.connection.connection_pool.connection_kwargs["socket_timeout"] == 1


def test_ours_notices_a_redis_that_does_not_answer(own_redis: RedisProcess) -> None:
    async def work(client: redis.Redis) -> float:
        async with working(client) as worker:
            await until(lambda: worker.last_claim)
            own_redis.freeze()
            frozen_at = time.monotonic()
            await until(lambda: worker.without_redis)
            noticed_s = time.monotonic() - frozen_at
            own_redis.thaw()
            return noticed_s

    with redis_at(own_redis.url) as client:
        assert asyncio.run(work(client)) < 6


# Results are kept for 500 s and failures for a year


def test_stock_rq_keeps_a_result_for_500_s_and_a_failure_for_a_year(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(ADD, 1, 2, job_id="good")
    queue_of(client).enqueue(FAIL, job_id="bad")
    stock_worker(stock).work(burst=True)

    assert 490 < client.ttl("rq:job:good") <= 500
    assert client.ttl("rq:job:bad") > 360 * 24 * AN_HOUR_S


def test_a_hint_that_succeeded_leaves_nothing_of_itself(client: redis.Redis) -> None:
    async def work() -> None:
        enqueue(client, 1)
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert [key for key in client.keys("*") if b"job-0" in key] == []
    assert places(client, "job-0") == []


def test_an_order_hint_that_failed_is_kept_for_30_s(client: redis.Redis) -> None:
    hint = order_hint(ORDER_ID, created_at=NOON)

    async def work() -> None:
        enqueue_jobs(client, [hint], now=NOON)
        async with working(
            client, functions={EXECUTE: fail}, queue=ORDER_QUEUE, hint_prefix=ORDER_HINT_PREFIX
        ):
            await until(lambda: client.zcard(f"rq:failed:{ORDER_QUEUE}"))

    asyncio.run(work())

    assert 20 < client.ttl(f"rq:job:{hint.job_id}") <= 30


def test_a_status_hint_that_failed_is_kept_for_an_hour(client: redis.Redis) -> None:
    hint = status_hint(an_event(), Seal(b"s" * 32))
    queue = status_queue(OrderStatus(an_event().status))

    async def work() -> None:
        enqueue_jobs(client, [hint], now=NOON)
        functions: dict[str, Any] = {hint.function: fail}
        async with working(
            client, functions=functions, queue=queue, hint_prefix=STATUS_HINT_PREFIX
        ):
            await until(lambda: client.zcard(f"rq:failed:{queue}"))

    asyncio.run(work())

    assert AN_HOUR_S - 20 < client.ttl(f"rq:job:{hint.job_id}") <= AN_HOUR_S


def test_the_result_of_a_stock_producers_job_is_kept_for_30_s(client: redis.Redis) -> None:
    async def add(first: int, second: int) -> int:
        return first + second

    async def work() -> None:
        queue_of(client).enqueue(WORK, 1, 2, job_id="sum")
        async with working(client, add):
            await until(lambda: client.hget("rq:job:sum", "status") == b"finished")

    asyncio.run(work())

    assert 20 < client.ttl("rq:job:sum") <= 30
    assert 20 < client.ttl("rq:results:sum") <= 30
