"""How long the engine's failed hints are kept."""

import asyncio
from typing import Any

import redis

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
from rq_slots.enqueue import enqueue as enqueue_jobs
from support.builders import NOON, ORDER_ID, an_event
from support.rq import (
    AN_HOUR_S,
    fail,
    until,
    working,
)


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
