"""With Redis paused, each frame is at most 3 s late, and comes by the position check (P5)."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from order_engine.client import EngineClient
from support.fleet import INSTANT, Fleet, running_fleet
from support.redis_process import RedisProcess, redis_process
from support.stores import Stores, fresh_databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

UNLIMITED = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
VENUES = {**INSTANT, "VENUE_QUOTE_LATENCY_S": "0.5", "VENUE_EXECUTION_MIN_S": "1"}
BY_POSITION_CHECK = 'order_engine_ws_events_read_total{reason="position_check"}'
LATE_MAX_S = 3.0
SLACK_S = 1.5  # for a machine under load, which both waits and is read late


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A frame, and how long after its commit a client had it."""

    order_id: UUID
    seq: int
    late_s: float


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def fleet(
    stores: Stores, redis_server: RedisProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    settings = VENUES | {"VENUE_EXECUTION_MAX_S": "1"} | UNLIMITED
    with (
        fresh_databases(stores) as databases,
        running_fleet(databases, redis_server.url, directory, settings) as fleet,
    ):
        yield fleet


def test_with_redis_paused_frames_come_within_three_seconds_by_the_position_check(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    """The first orders are under way when Redis stops, the others are placed while it stands."""
    trading, seen = Trading(), list[Seen]()
    read_before = fleet["ws-gateway"].metric(BY_POSITION_CHECK)

    async def followed(engine: EngineClient, order_id: UUID) -> None:
        trading.logs[("client", order_id)] = log = []
        async for frame in engine.stream(order_id):
            log.append(frame)
            late_s = time.time() - frame.timestamp.timestamp()
            seen.append(Seen(order_id=order_id, seq=frame.seq, late_s=late_s))

    async def work() -> None:
        async with fleet.client() as engine, asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            for order_id in await trading.place(engine, 10):
                tasks.create_task(followed(engine, order_id))
            await asyncio.sleep(0.7)  # they are followed, and started
            await asyncio.to_thread(redis_server.freeze)
            for _ in range(5):
                for order_id in await trading.place(engine, 4):
                    tasks.create_task(followed(engine, order_id))
                await asyncio.sleep(3)

    try:
        asyncio.run(work())
        read = fleet["ws-gateway"].metric(BY_POSITION_CHECK) - read_before
    finally:
        redis_server.thaw()

    late = [each for each in seen if each.late_s > LATE_MAX_S + SLACK_S]
    assert late == []
    assert read >= 20, "frames came another way than by the position check"
    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []
