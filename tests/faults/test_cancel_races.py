"""A cancel races the worker for the same order: one of them has it, never both."""

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
AT_ONCE = 50
SETTINGS = {
    **INSTANT,
    "VENUE_QUOTE_JITTER_S": "0.2",  # long enough for a cancel to come in between, now and then
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
    "QUEUE_MAX_CONCURRENCY": "20",
}
# the cancel is sent when the client sees this one: by then the worker is some steps ahead
STARTS = (OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING)
CANCELLED = "SELECT id FROM orders WHERE error_code = 'cancelled'"
FILLED = "SELECT order_id AS id FROM chain.transactions WHERE outcome = 'filled'"


def test_each_of_a_thousand_orders_is_cancelled_or_filled_and_never_both(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading, luck = Trading(), random.Random(5)
    answers: dict[UUID, int] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def race(engine: EngineClient, start: OrderStatus) -> None:
        async with room:
            [order_id] = await trading.place(engine, 1)
            log = trading.logs[("racer", order_id)] = []
            cancelling: asyncio.Task[int] | None = None
            async for frame in engine.stream(order_id):
                log.append(frame)
                if frame.status is start:
                    cancelling = asyncio.create_task(cancel(engine, order_id))
            if cancelling is not None:
                answers[order_id] = await cancelling

    async def races() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
            async with fleet.client() as engine, asyncio.timeout(240), asyncio.TaskGroup() as tasks:
                for _ in range(RACES):
                    tasks.create_task(race(engine, luck.choice(STARTS)))

    asyncio.run(races())
    cancelled = {row["id"] for row in rows(databases.orders_url, CANCELLED)}
    filled = {row["id"] for row in rows(databases.chain_url, FILLED)}

    assert len(answers) == RACES
    assert Counter(answers.values()).keys() == {202, 409}, (
        "a race that one side always wins is none"
    )
    assert {order_id for order_id, code in answers.items() if code == 202} == cancelled
    assert {order_id for order_id, code in answers.items() if code == 409} == filled
    assert trading.violations(databases) == []


async def cancel(engine: EngineClient, order_id: UUID) -> int:
    try:
        await engine.cancel_order(order_id)
    except RequestRefused as refused:
        return refused.status
    return 202
