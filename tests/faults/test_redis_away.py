"""Orders execute and frames arrive while Redis is down, frozen, read-only or full (P4, P5)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from support.fleet import DISPATCHERS, INSTANT, Fleet, running_fleet
from support.redis_process import RedisProcess, redis_process
from support.stores import Stores, fresh_databases
from support.trading import Trading, trade
from support.waiting import wait_until

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

UNLIMITED = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
CLAIMED_BY_HINT = 'order_engine_orders_claimed_total{way="hint"}'
CLAIMED_WITHOUT_REDIS = 'order_engine_orders_claimed_total{way="without_redis"}'


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def fleet(
    stores: Stores, redis_server: RedisProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    with (
        fresh_databases(stores) as databases,
        running_fleet(databases, redis_server.url, directory, INSTANT | UNLIMITED) as fleet,
    ):
        yield fleet


def works_without_redis(fleet: Fleet) -> bool:
    return fleet["order-worker"].metric('rq_slots_without_redis{queue="orders"}') == 1.0


def claims_by_hint(fleet: Fleet) -> bool:
    claimed = fleet["order-worker"].metric(CLAIMED_BY_HINT)
    trade(fleet, 1)
    return fleet["order-worker"].metric(CLAIMED_BY_HINT) > claimed


@contextmanager
def frozen(server: RedisProcess) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def killed(server: RedisProcess) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def read_only(server: RedisProcess) -> Iterator[None]:
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def full(server: RedisProcess) -> Iterator[None]:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@contextmanager
def loading(server: RedisProcess) -> Iterator[None]:
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000)
        client.save()
    server.kill()
    server.start(["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"])
    yield
    server.kill()
    server.start()


Outage = Callable[[RedisProcess], AbstractContextManager[None]]


@pytest.mark.parametrize("outage", [frozen, killed, read_only, full, loading])
def test_orders_end_and_frames_arrive_during_and_after_a_redis_outage(
    fleet: Fleet, redis_server: RedisProcess, outage: Outage
) -> None:
    with outage(redis_server):
        wait_until(lambda: works_without_redis(fleet), timeout_s=30, what="the mode without Redis")
        trading = trade(fleet, 20)
        claimed = fleet["order-worker"].metric(CLAIMED_WITHOUT_REDIS)
    wait_until(
        lambda: not works_without_redis(fleet),
        timeout_s=30,
        what="the end of the mode without Redis",
    )

    assert claimed >= 20
    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []
    wait_until(lambda: claims_by_hint(fleet), timeout_s=60, what="an order claimed by its hint")


def test_orders_whose_hints_were_flushed_are_executed(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    trading = Trading()

    async def work() -> None:
        async with fleet.client() as engine:
            await asyncio.to_thread(fleet["order-worker"].pause)
            ids = await trading.place(engine, 200)
            with redis_server.client() as client:
                client.flushall()
            await asyncio.to_thread(fleet["order-worker"].resume)
            await trading.follow(engine, ids, clients=1, within_s=90)

    asyncio.run(work())

    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []


def test_the_mode_without_redis_does_not_begin_while_redis_is_healthy(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    before = fleet["order-worker"].metric(CLAIMED_WITHOUT_REDIS)
    trade(fleet, 100)  # all slots busy
    fleet["order-worker"].pause()
    with redis_server.client() as client:  # idle and suspended
        client.set("rq:suspended", 1, ex=1)
    fleet["order-worker"].resume()
    trade(fleet, 10)

    assert fleet["order-worker"].metric(CLAIMED_WITHOUT_REDIS) == before


def test_dispatchers_become_ready_again_after_a_redis_outage(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    with killed(redis_server):
        wait_until(
            lambda: not any(fleet[name].is_ready() for name in DISPATCHERS),
            timeout_s=30,
            what="dispatchers that are not ready",
        )

    wait_until(
        lambda: all(fleet[name].is_ready() for name in DISPATCHERS),
        timeout_s=30,
        what="dispatchers that are ready again",
    )
