"""While Redis is paused, the position check delivers each frame at most 3 s late (P5)."""

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
SLACK_S = 1.5  # for a loaded machine, where timers fire late and clients read late


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFrame:
    """A frame, and how long after its commit the client received it."""

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


def test_the_position_check_delivers_frames_within_three_seconds_while_redis_is_paused(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    """The first orders are in progress when Redis is paused; the others are placed after that."""
    trading, received = Trading(), list[ReceivedFrame]()
    read_before = fleet["ws-gateway"].metric(BY_POSITION_CHECK)

    async def follow(engine: EngineClient, order_id: UUID) -> None:
        trading.logs[("client", order_id)] = log = []
        async for frame in engine.stream(order_id):
            log.append(frame)
            late_s = time.time() - frame.timestamp.timestamp()
            received.append(ReceivedFrame(order_id=order_id, seq=frame.seq, late_s=late_s))

    async def trade() -> None:
        async with fleet.client() as engine, asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            for order_id in await trading.place(engine, 10):
                tasks.create_task(follow(engine, order_id))
            await asyncio.sleep(0.7)  # the orders are followed and have started
            await asyncio.to_thread(redis_server.freeze)
            for _ in range(5):
                for order_id in await trading.place(engine, 4):
                    tasks.create_task(follow(engine, order_id))
                await asyncio.sleep(3)

    try:
        asyncio.run(trade())
        read = fleet["ws-gateway"].metric(BY_POSITION_CHECK) - read_before
    finally:
        redis_server.thaw()

    late = [each for each in received if each.late_s > LATE_MAX_S + SLACK_S]
    assert late == []
    assert read >= 20, "too few frames were delivered by the position check"
    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []
