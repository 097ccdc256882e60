"""When a client cancels an order that a worker executes, exactly one of the two succeeds."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from order_engine.client import EngineClient, RequestRefused
from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.fleet import INSTANT, running_fleet
from support.stores import Databases
from support.trading import Trading

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

RACES = 1_000
RACES_AT_A_TIME = 50
SETTINGS = {
    **INSTANT,
    "VENUE_QUOTE_JITTER_S": "0.2",  # long enough for some cancels to succeed
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
    "QUEUE_MAX_CONCURRENCY": "20",
}
# the client cancels when it receives one of these; the worker may have moved the order further
CANCEL_AT = (OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING)
CANCELLED = "SELECT id FROM orders WHERE error_code = 'cancelled'"
FILLED = "SELECT order_id AS id FROM chain.transactions WHERE outcome = 'filled'"


def test_each_of_a_thousand_orders_is_either_cancelled_or_filled(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading, rng = Trading(), random.Random(5)
    responses: dict[UUID, int] = {}
    limit = asyncio.Semaphore(RACES_AT_A_TIME)

    async def race(engine: EngineClient, cancel_at: OrderStatus) -> None:
        async with limit:
            [order_id] = await trading.place(engine, 1)
            log = trading.logs[("client", order_id)] = []
            cancelling: asyncio.Task[int] | None = None
            async for frame in engine.stream(order_id):
                log.append(frame)
                if frame.status is cancel_at:
                    cancelling = asyncio.create_task(cancel(engine, order_id))
            if cancelling is not None:
                responses[order_id] = await cancelling

    async def races() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
            async with fleet.client() as engine, asyncio.timeout(240), asyncio.TaskGroup() as tasks:
                for _ in range(RACES):
                    tasks.create_task(race(engine, rng.choice(CANCEL_AT)))

    asyncio.run(races())
    cancelled = {row["id"] for row in rows(databases.orders_url, CANCELLED)}
    filled = {row["id"] for row in rows(databases.chain_url, FILLED)}

    assert len(responses) == RACES
    assert Counter(responses.values()).keys() == {202, 409}, "one side won every race"
    assert {order_id for order_id, code in responses.items() if code == 202} == cancelled
    assert {order_id for order_id, code in responses.items() if code == 409} == filled
    assert trading.violations(databases) == []


async def cancel(engine: EngineClient, order_id: UUID) -> int:
    try:
        await engine.cancel_order(order_id)
    except RequestRefused as refused:
        return refused.status
    return 202
