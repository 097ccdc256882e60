"""The concurrent RQ worker on real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import redis
from prometheus_client import REGISTRY
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from rq_slots.enqueue import NewJob
from rq_slots.enqueue import enqueue as enqueue_jobs
from rq_slots.job_queue import WAIT_MAX_S
from rq_slots.scripts import lua
from rq_slots.worker import SlotWorker
from support.cutting_proxy import cutting_proxy, is_call
from support.lossy_proxy import Loss
from support.rq import (
    FAILED,
    LIST,
    QUEUE,
    STARTED,
    WINDOW,
    WORK,
    NotBegun,
    a_worker,
    claims_again,
    enqueue,
    places,
    queue_of,
    redis_at,
    running,
    until,
    working,
)


def test_every_job_runs_once_and_leaves_nothing_behind(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 500)
        async with working(client, note):
            await until(lambda: len(ran) == 500)

    asyncio.run(work())

    assert sorted(ran) == list(range(500))
    assert client.keys("rq:job:*") == []
    assert client.keys("rq:execution*") == []
    assert client.zcard(StartedJobRegistry(QUEUE, connection=client).key) == 0


def test_jobs_start_in_the_order_in_which_they_came(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 50)
        async with working(client, note, slots=1):
            await until(lambda: len(ran) == 50)

    asyncio.run(work())

    assert ran == list(range(50))


def test_no_more_jobs_run_at_a_time_than_there_are_slots(client: redis.Redis) -> None:
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


def test_no_more_jobs_start_than_the_window_allows(client: redis.Redis) -> None:
    started: list[int] = []

    async def note(n: int) -> None:
        started.append(n)

    async def work() -> None:
        enqueue(client, 30)
        async with (
            working(client, note, limit=12) as first,
            working(client, note, limit=12) as second,
        ):
            await until(lambda: len(started) == 12)
            await until(lambda: both_have_been_refused(first, second))

    def both_have_been_refused(*workers: SlotWorker) -> bool:
        return all(w.last_claim is not None and w.last_claim.room == 0 for w in workers)

    asyncio.run(work())

    assert len(started) == 12
    assert len(queue_of(client)) == 18
    assert client.zcard("starts") == 12


def test_a_token_that_has_left_the_window_lets_the_next_job_start(client: redis.Redis) -> None:
    started: list[int] = []

    async def note(n: int) -> None:
        started.append(n)

    async def work() -> None:
        enqueue(client, 3)
        client.zadd("starts", {"an hour ago": time.time() - 3600, "just now": time.time() - 1})
        async with working(client, note, limit=2) as worker:
            await until(lambda: worker.last_claim is not None and worker.last_claim.room == 0)
            assert started == [0]
            client.zrem("starts", "just now")
            await until(lambda: len(started) == 2)

    asyncio.run(work())


def test_a_job_that_raises_fails_alone_and_is_kept_for_a_while(client: redis.Redis) -> None:
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
def test_a_malformed_job_stops_nobody(
    client: redis.Redis, spoil: Callable[[redis.Redis], object]
) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 5)
        spoil(client)
        async with working(client, note):
            await until(lambda: {1, 2, 3, 4} <= set(ran))

    asyncio.run(work())

    assert len(queue_of(client)) == 0


def test_the_same_job_id_twice_in_the_list_runs_once(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 1)
        client.rpush("rq:queue:work", "job-0")
        enqueue(client, 1, first=1)
        async with working(client, note):
            await until(lambda: 1 in ran)

    asyncio.run(work())

    assert sorted(ran) == [0, 1]


def test_nothing_starts_while_suspended_and_all_goes_on_after(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        suspend(client)
        enqueue(client, 5)
        async with working(client, note) as worker:
            await until(lambda: worker.last_claim is not None and worker.last_claim.suspended)
            assert ran == []
            resume(client)
            await until(lambda: len(ran) == 5)

    asyncio.run(work())


def test_rq_sees_the_worker_while_it_lives(client: redis.Redis) -> None:
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


def test_a_worker_signs_on_again_after_a_flush(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        async with working(client, note) as worker:
            await until(lambda: client.exists(worker.registration.key))
            client.flushall()
            enqueue(client, 1)
            await until(lambda: ran == [0])
            await until(lambda: client.exists(worker.registration.key))

    asyncio.run(work())


def test_a_stopping_worker_finishes_what_it_has_and_leaves_the_rest(client: redis.Redis) -> None:
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


def test_a_window_that_redis_lost_is_united_with_the_store_before_anything_starts(
    client: redis.Redis,
) -> None:
    started: list[int] = []

    async def note(n: int) -> None:
        started.append(n)

    async def seven_of_the_last_minute() -> dict[str, float]:
        return {f"earlier-{n}": 30.0 for n in range(7)}

    async def work() -> None:
        enqueue(client, 20)
        async with working(
            client, note, limit=10, recent_starts=seven_of_the_last_minute
        ) as worker:
            await until(lambda: worker.last_claim is not None and worker.last_claim.room == 0)
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
        return REGISTRY.get_sample_value("jobs_returned_total", {"queue": QUEUE}) or 0.0

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
def test_jobs_whose_start_was_never_heard_of_go_back_with_their_tokens(
    client: redis.Redis, redis_url: str, limit: int
) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 5)
        client.script_load(lua("executions", "claim"))
        with cutting_proxy(redis_url) as proxy, redis_at(proxy.url) as behind_proxy:
            proxy.cut(Loss.REPLY, lambda command: is_call(command, b"EVALSHA", LIST.encode()))
            async with working(behind_proxy, note, slots=4, limit=limit):
                await until(proxy.was_cut.is_set)
                # long before the leases of those that started have run out
                await until(lambda: len(ran) == 5)

    asyncio.run(work())

    assert sorted(ran) == [0, 1, 2, 3, 4]
    assert client.zcard(STARTED) == 0
    assert client.zcard(WINDOW) == limit


def test_a_job_that_is_refused_comes_again_where_no_store_is_asked(client: redis.Redis) -> None:
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


def test_a_window_is_united_again_when_the_worker_was_without_redis_for_a_moment(
    client: redis.Redis, redis_url: str
) -> None:
    """The mode begins while a slot is waited for, and the very next call ends it."""
    united: list[int] = []
    gate = asyncio.Event()

    async def hold(_: int) -> None:
        await gate.wait()

    async def starts() -> dict[str, float]:
        united.append(1)
        return {}

    async def work(behind_proxy: redis.Redis) -> None:
        worker = a_worker(behind_proxy, hold, slots=1, limit=5, recent_starts=starts)
        enqueue(client, 1)
        async with running(worker):
            await until(lambda: united and worker.slots.free == 0)
            await claims_again(worker)
            for _ in range(2):  # 0.5 s for a slot, and failed, twice; then a second has passed
                proxy.cut(Loss.REQUEST, lambda command: is_call(command, b"EVALSHA"))
                await until(proxy.was_cut.is_set)
            await until(lambda: worker.without_redis)
            await until(lambda: not worker.without_redis)
            await until(lambda: len(united) == 2)
            gate.set()

    with cutting_proxy(redis_url) as proxy, redis_at(proxy.url) as behind_proxy:
        asyncio.run(work(behind_proxy))


# What waits to be written


def sample(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"queue": QUEUE}) or 0.0


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
            await until(lambda: sample("jobs_unwritten") == 3)
            most = sample("jobs_unwritten")
            proxy.mend()
            await until(lambda: len(ran) == 20)
            await until(lambda: sample("jobs_unwritten") == 0)

    before = sample("redis_calls_failed_total")
    with cutting_proxy(redis_url) as proxy, redis_at(proxy.url) as behind_proxy:
        asyncio.run(work(behind_proxy))

    assert most == 3
    assert sorted(ran) == list(range(20))
    assert sample("redis_calls_failed_total") > before


# What is stale


def write(client: redis.Redis, job_id: str, *, age_s: float) -> None:
    created_at = time.time() - age_s
    moment = datetime.fromtimestamp(created_at, UTC)
    hint = NewJob(
        queue=QUEUE,
        job_id=job_id,
        function=WORK,
        arguments=(job_id,),
        created_at=moment,
        failure_ttl_s=30,
        meta={"created_at": created_at},
    )
    enqueue_jobs(client, [hint], now=moment)


def ran_with_stale_after_5_s(client: redis.Redis, count: int) -> list[str]:
    ran: list[str] = []

    async def note(job_id: str) -> None:
        ran.append(job_id)

    async def work() -> None:
        async with working(client, note, stale_after_s=5):
            await until(lambda: len(ran) == count and not client.exists(LIST))

    asyncio.run(work())
    return ran


def test_a_hint_long_before_the_newest_in_its_queue_is_dropped(client: redis.Redis) -> None:
    write(client, "job-old", age_s=60)
    write(client, "job-new", age_s=0)

    assert ran_with_stale_after_5_s(client, 1) == ["job-new"]
    assert client.keys("rq:job:*") == []


@pytest.mark.parametrize("skew_s", [-3600, -60, 60, 3600])
def test_no_hint_is_stale_because_the_clocks_differ(client: redis.Redis, skew_s: float) -> None:
    ids = [f"job-{n}" for n in range(20)]
    for job_id in ids:
        write(client, job_id, age_s=skew_s)

    assert ran_with_stale_after_5_s(client, 20) == ids


def test_a_forged_newest_makes_no_fresh_hint_stale(client: redis.Redis) -> None:
    write(client, "job-fresh", age_s=1)
    write(client, "job-forged", age_s=-(10**6))

    assert ran_with_stale_after_5_s(client, 2) == ["job-fresh", "job-forged"]


def test_a_job_of_another_producer_is_never_stale(client: redis.Redis) -> None:
    write(client, "foreign", age_s=60)
    write(client, "job-new", age_s=0)

    assert ran_with_stale_after_5_s(client, 2) == ["foreign", "job-new"]


def test_a_timeout_that_is_over_before_its_job_begins_costs_no_slot(client: redis.Redis) -> None:
    ran: list[int] = []

    async def note(n: int) -> None:
        ran.append(n)

    async def work() -> None:
        enqueue(client, 2)
        client.hset("rq:job:job-0", "timeout", 0)
        async with working(client, note, slots=1):
            await until(lambda: 1 in ran)

    asyncio.run(work())


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


# What a job says of itself


@pytest.mark.parametrize(("keep_s", "left_s"), [("90", 90), ("90.5", 90), ("1e300", 31_536_000)])
def test_a_failure_is_kept_as_long_as_its_job_says(
    client: redis.Redis, keep_s: str, left_s: int
) -> None:
    fail_one(client, keep_s)

    assert left_s - 20 < client.ttl("rq:job:foreign") <= left_s


@pytest.mark.parametrize("keep_s", ["0", "0.5"])
def test_a_failure_that_is_not_to_be_kept_is_deleted(client: redis.Redis, keep_s: str) -> None:
    fail_one(client, keep_s)

    assert not client.exists("rq:job:foreign")


@pytest.mark.parametrize("keep_s", ["", "many", "nan"])
def test_a_failure_that_does_not_say_is_kept_for_an_hour(client: redis.Redis, keep_s: str) -> None:
    fail_one(client, keep_s)

    assert 3500 < client.ttl("rq:job:foreign") <= 3600


def test_a_failure_that_is_to_be_kept_for_ever_is(client: redis.Redis) -> None:
    fail_one(client, "-1")

    assert client.ttl("rq:job:foreign") == -1
    assert places(client, "foreign") == ["failed"]


def fail_one(client: redis.Redis, keep_s: str) -> None:
    write(client, "foreign", age_s=0)
    client.hset("rq:job:foreign", "failure_ttl", keep_s)

    async def fail(_: str) -> None:
        raise RuntimeError("as it was asked to")

    async def work() -> None:
        async with working(client, fail):
            await until(lambda: client.zscore(FAILED, "foreign") is not None)

    asyncio.run(work())


@pytest.mark.parametrize("moment", ["nan", "-inf", "inf", "0", "1e300", "0001-01-01T00:00:00"])
def test_a_forged_moment_does_not_spoil_the_sum_of_waits(client: redis.Redis, moment: str) -> None:
    before = sample("job_wait_seconds_sum")
    enqueue(client, 1)
    client.hset("rq:job:job-0", "enqueued_at", moment)

    async def work() -> None:
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert 0 <= sample("job_wait_seconds_sum") - before <= WAIT_MAX_S
