"""Jobs of stock producers on the slot worker: results, dependents, callbacks, repeats and retries."""

import asyncio
from pathlib import Path

import pytest
import redis
from rq import Callback, Repeat, Retry
from rq.rate_limit import RateLimit
from rq.results import Result

from support.cutting_proxy import CuttingProxy, Loss, is_call
from support.rq import (
    DEFERRED,
    FAILED,
    LIST,
    STARTED,
    WORK,
    add,
    claims_again,
    expire_leases,
    fail,
    fetched,
    is_finished,
    places,
    queue_of,
    recorder,
    until,
    working,
)
from support.rq_functions import ADD, FAIL, ON_FAILURE, ON_SUCCESS, notes

TESTS = Path(__file__).parents[3]
JSON = "rq.serializers.JSONSerializer"
RQ_TIMEOUT_S = 60


# A stock producer


def test_a_stock_producer_gets_the_result(client: redis.Redis) -> None:
    async def work() -> None:
        queue_of(client).enqueue(WORK, 1, 2, job_id="sum")
        async with working(client, add) as worker:
            await until(lambda: is_finished(client, "sum"))
            await until(lambda: not client.exists(worker.registration.executions_key))

    asyncio.run(work())
    job = fetched(client, "sum")

    assert job.return_value() == 3
    assert places(client, "sum") == ["finished"]
    assert client.keys("rq:execution:*") == []


def test_keyword_arguments_of_a_stock_producer_arrive(client: redis.Redis) -> None:
    async def work() -> None:
        queue_of(client).enqueue(WORK, 1, second=2, job_id="sum")
        async with working(client, add):
            await until(lambda: is_finished(client, "sum") or places(client, "sum") == ["failed"])

    asyncio.run(work())

    assert fetched(client, "sum").return_value() == 3


def test_a_stock_producer_gets_the_reason_of_a_failure(client: redis.Redis) -> None:
    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="bad")
        async with working(client, fail):
            await until(lambda: places(client, "bad") == ["failed"])

    asyncio.run(work())
    result = fetched(client, "bad").latest_result()

    assert result is not None
    assert result.type == Result.Type.FAILED
    assert "RuntimeError: as requested" in (result.exc_string or "")


def test_a_job_that_exceeds_its_timeout_is_cancelled_and_fails(client: redis.Redis) -> None:
    cancelled: list[bool] = []

    async def never_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="endless", job_timeout=1)
        async with working(client, never_end):
            await until(lambda: places(client, "endless") == ["failed"])

    asyncio.run(work())
    result = fetched(client, "endless").latest_result()

    assert cancelled == [True]
    assert result is not None
    assert "TimeoutError" in (result.exc_string or "")


def test_a_dependent_runs_after_the_job_it_depends_on(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        first = queue_of(client).enqueue(WORK, "first")
        queue_of(client).enqueue(WORK, "second", depends_on=first, job_id="second")
        queue_of(client).enqueue(WORK, "third", depends_on="second")
        async with working(client, note):
            await until(lambda: len(ran) == 3)

    asyncio.run(work())

    assert ran == ["first", "second", "third"]
    assert client.zcard(DEFERRED) == 0


def test_a_dependent_that_is_added_while_its_job_runs_runs_too(client: redis.Redis) -> None:
    ran: list[str] = []
    gate = asyncio.Event()

    async def note(word: str) -> None:
        await gate.wait()
        ran.append(word)

    async def work() -> None:
        first = queue_of(client).enqueue(WORK, "first", result_ttl=0)
        async with working(client, note):
            await until(lambda: client.zcard(STARTED) == 1)
            queue_of(client).enqueue(WORK, "second", depends_on=first)
            gate.set()
            await until(lambda: len(ran) == 2)

    asyncio.run(work())

    assert ran == ["first", "second"]


def test_a_dependent_of_a_failed_job_waits(client: redis.Redis) -> None:
    async def work() -> None:
        first = queue_of(client).enqueue(WORK, job_id="first")
        queue_of(client).enqueue(WORK, depends_on=first, job_id="second")
        async with working(client, fail):
            await until(lambda: places(client, "first") == ["failed"])

    asyncio.run(work())

    assert places(client, "second") == ["deferred"]


def test_allowed_callbacks_are_called(client: redis.Redis) -> None:
    functions = {ADD: add, FAIL: fail, ON_SUCCESS: fail, ON_FAILURE: fail}

    async def work() -> None:
        queue = queue_of(client)
        queue.enqueue(ADD, 1, 2, job_id="good", on_success=Callback(ON_SUCCESS))
        queue.enqueue(FAIL, job_id="bad", on_failure=Callback(ON_FAILURE))
        async with working(client, functions=functions):
            await until(lambda: client.zcard(FAILED) and is_finished(client, "good"))

    asyncio.run(work())

    assert sorted(notes(client)) == ["bad failed with RuntimeError", "good succeeded with 3"]


def test_a_repeated_job_runs_the_given_number_of_times(client: redis.Redis) -> None:
    ran, note = recorder()

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7, job_id="again", repeat=Repeat(times=2))
        async with working(client, note):
            await until(lambda: is_finished(client, "again"))

    asyncio.run(work())

    assert ran == [7, 7, 7]
    assert places(client, "again") == ["finished"]


@pytest.mark.parametrize("result_ttl", [None, 0])
def test_a_retry_of_rq_runs_a_failed_job_again(client: redis.Redis, result_ttl: int | None) -> None:
    ran: list[int] = []

    async def fail_twice(n: int) -> None:
        ran.append(n)
        if len(ran) < 3:
            raise RuntimeError("as requested")

    async def work() -> None:
        queue_of(client).enqueue(WORK, 7, job_id="again", retry=Retry(max=2), result_ttl=result_ttl)
        async with working(client, fail_twice):
            await until(lambda: len(ran) == 3 or client.zcard(FAILED))
            await until(lambda: client.zcard(STARTED) == 0)

    asyncio.run(work())

    assert ran == [7, 7, 7]
    assert places(client, "again") == ([] if result_ttl == 0 else ["finished"])


def test_a_retry_of_rq_with_an_interval_is_scheduled(client: redis.Redis) -> None:
    """RQ's scheduler has to run for such retries."""

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="later", retry=Retry(max=1, interval=60))
        async with working(client, fail):
            await until(lambda: client.hget("rq:job:later", "status") == b"scheduled")
            await until(lambda: client.zcard(STARTED) == 0)

    asyncio.run(work())

    assert places(client, "later") == ["scheduled"]


def test_a_retry_of_rq_ends_with_a_failure(client: redis.Redis) -> None:
    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="bad", retry=Retry(max=1))
        async with working(client, fail):
            await until(lambda: places(client, "bad") == ["failed"])

    asyncio.run(work())

    assert fetched(client, "bad").retries_left == 0


def test_a_rate_limit_of_rq_starts_the_next_job_when_one_ends(client: redis.Redis) -> None:
    running = most = 0

    async def hold(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async def work() -> None:
        limit = RateLimit("one at a time", concurrency=1)
        for n in range(3):
            queue_of(client).enqueue(WORK, n, job_id=f"guest-{n}", rate_limit=limit)
        async with working(client, hold):
            await until(lambda: all(is_finished(client, f"guest-{n}") for n in range(3)))

    asyncio.run(work())

    assert most == 1


# A worker that ends its job late, or twice


def test_a_worker_that_lost_its_lease_ends_nothing(client: redis.Redis) -> None:
    gate = asyncio.Event()

    async def wait_at_gate() -> str:
        await gate.wait()
        return "too late"

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="guest")
        async with working(client, wait_at_gate):
            await until(lambda: client.zcard(STARTED))
            expire_leases(client)
            async with working(client):
                await until(lambda: places(client, "guest") == ["failed"])
            gate.set()

    asyncio.run(work())

    assert places(client, "guest") == ["failed"]
    assert fetched(client, "guest").return_value() is None


def test_a_worker_that_lost_its_lease_does_not_end_the_second_run(
    client: redis.Redis,
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[int] = []
    ended: list[int] = []

    async def wait_at_gate() -> int:
        number = len(begun)
        begun.append(number)
        await gates[number].wait()
        ended.append(number)
        return number

    async def work() -> None:
        queue_of(client).enqueue(WORK, job_id="guest", retry=Retry(max=1))
        async with working(client, wait_at_gate, slots=1) as first:
            await until(lambda: client.zcard(STARTED))
            expire_leases(client)
            async with working(client, wait_at_gate):
                await until(lambda: len(begun) == 2)
                gates[0].set()
                await until(lambda: ended == [0])
                await claims_again(first)
                assert places(client, "guest") == ["started"]
                gates[1].set()

    asyncio.run(work())

    assert places(client, "guest") == ["finished"]
    assert fetched(client, "guest").return_value() == 1


@pytest.mark.parametrize("again", ["repeat", "retry"])
def test_a_job_is_repeated_once_when_the_reply_to_its_end_is_lost(
    client: redis.Redis, proxy: CuttingProxy, behind_proxy: redis.Redis, again: str
) -> None:
    ran: list[int] = []

    async def note() -> None:
        ran.append(1)
        if again == "retry":
            raise RuntimeError("as requested")

    async def work() -> None:
        if again == "repeat":
            queue_of(client).enqueue(WORK, job_id="guest", repeat=Repeat(times=2))
        else:
            queue_of(client).enqueue(WORK, job_id="guest", retry=Retry(max=2))
        proxy.cut(
            Loss.REPLY, lambda command: is_call(command, b"EXEC") and proxy.has_passed(b"RPUSH")
        )
        async with working(behind_proxy, note, slots=1):
            await until(proxy.was_cut.is_set)
            await until(lambda: places(client, "guest") in (["finished"], ["failed"]))

    asyncio.run(work())

    assert len(ran) == 3
    assert client.llen(LIST) == 0
