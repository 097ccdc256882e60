"""Names, timeouts and times to live of RQ 3.0.0 and of the slot worker."""

import asyncio

import pytest
import redis

from support.redis_process import RedisProcess
from support.rq import (
    AN_HOUR_S,
    WORK,
    a_worker,
    enqueue,
    places,
    queue_of,
    redis_at,
    stock_worker,
    until,
    working,
)
from support.rq_functions import ADD, FAIL

# A killed worker's name is refused


def test_a_stock_worker_cannot_take_the_name_of_a_killed_one_for_480_s(
    client: redis.Redis, stock: redis.Redis
) -> None:
    stock_worker(stock, name="pod-0").register_birth()  # type: ignore[no-untyped-call]  # untyped in rq

    with pytest.raises(ValueError, match="active worker named 'pod-0'"):
        stock_worker(stock, name="pod-0").register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
    assert 470 < client.ttl("rq:worker:pod-0") <= 480


def test_a_slot_worker_starts_beside_the_keys_of_a_killed_one(
    client: redis.Redis,
) -> None:
    killed = a_worker(client).registration
    killed.ip_address = "unknown"
    killed.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq

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


def test_a_slot_worker_keeps_the_socket_timeout_of_1_s(client: redis.Redis) -> None:
    worker = a_worker(client)

    assert worker.registration.connection.connection_pool.connection_kwargs["socket_timeout"] == 1


def test_a_slot_worker_notices_a_redis_that_does_not_answer(own_redis: RedisProcess) -> None:
    async def work(client: redis.Redis) -> None:
        async with working(client) as worker:
            await until(lambda: worker.last_claim)
            own_redis.freeze()
            await until(lambda: worker.without_redis, timeout_s=60)
            own_redis.thaw()

    with redis_at(own_redis.url) as client:
        asyncio.run(work(client))


# Results are kept for 500 s and failures for a year


def test_stock_rq_keeps_a_result_for_500_s_and_a_failure_for_a_year(
    client: redis.Redis, stock: redis.Redis
) -> None:
    queue_of(client).enqueue(ADD, 1, 2, job_id="good")
    queue_of(client).enqueue(FAIL, job_id="bad")
    stock_worker(stock).work(burst=True)

    assert 490 < client.ttl("rq:job:good") <= 500
    assert client.ttl("rq:job:bad") > 360 * 24 * AN_HOUR_S


def test_a_hint_that_succeeded_leaves_no_keys(client: redis.Redis) -> None:
    async def work() -> None:
        enqueue(client, 1)
        async with working(client):
            await until(lambda: not client.exists("rq:job:job-0"))

    asyncio.run(work())

    assert [key for key in client.keys("*") if b"job-0" in key] == []
    assert places(client, "job-0") == []


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
