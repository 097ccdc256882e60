"""Hints on real Redis."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.hints import Hints
from order_engine.execution.messages.seals import Seal
from order_engine.execution.stores.redis_clients import async_redis_client
from support.builders import NOON, ORDER_ID, an_event
from support.serving import a_closed_port

SEAL = Seal(b"s" * 32)


def announce(url: str, events: Sequence[OrderEvent]) -> None:
    """Announces events, one after another, and writes all hints."""

    async def work() -> None:
        hints = Hints(async_redis_client(url), SEAL, now=lambda: NOON + timedelta(seconds=1))
        for event in events:
            hints.announce([event])
        await hints.finish()

    asyncio.run(work())


def queued(client: redis.Redis, queue: str) -> list[str]:
    return [
        job_id.decode()
        for job_id in client.lrange(f"rq:queue:{queue}", 0, -1)
        if isinstance(job_id, bytes)
    ]


def arguments_of(client: redis.Redis, job_id: str) -> list[Any]:
    data = client.hget(f"rq:job:{job_id}", "data")
    assert isinstance(data, bytes)
    arguments: list[Any] = json.loads(data)[2]
    return arguments


def dropped(queue: str) -> float:
    return REGISTRY.get_sample_value("order_engine_hints_dropped_total", {"queue": queue}) or 0.0


def test_a_placed_order_is_a_job_of_the_order_queue(client: redis.Redis, redis_url: str) -> None:
    announce(redis_url, [an_event(status=OrderStatus.PENDING, seq=1, occurred_at=NOON)])

    assert queued(client, "orders") == [f"o-{ORDER_ID}"]
    assert arguments_of(client, f"o-{ORDER_ID}") == [str(ORDER_ID)]
    assert queued(client, "order-status-pending") == [f"s-{ORDER_ID}-1"]


def test_an_order_that_moved_is_a_job_with_its_sealed_frame(
    client: redis.Redis, redis_url: str
) -> None:
    event = an_event(status=OrderStatus.ROUTING, seq=2, occurred_at=NOON)
    announce(redis_url, [event])

    [job_id] = queued(client, "order-status-routing")
    order_id, message, committed_at = arguments_of(client, job_id)
    text = SEAL.open(message.encode())
    assert (order_id, committed_at) == (str(ORDER_ID), NOON.timestamp())
    assert text is not None
    assert json.loads(text) == frame(event)
    assert queued(client, "orders") == []


def test_hints_keep_the_order_of_the_calls(client: redis.Redis, redis_url: str) -> None:
    announce(
        redis_url,
        [an_event(status=OrderStatus.FAILED, seq=seq, occurred_at=NOON) for seq in range(2, 52)],
    )

    assert queued(client, "order-status-failed") == [f"s-{ORDER_ID}-{seq}" for seq in range(2, 52)]


@pytest.mark.parametrize(
    ("status", "queue"),
    [
        (OrderStatus.PENDING, "orders"),
        (OrderStatus.PENDING, "order-status-pending"),
        (OrderStatus.ROUTING, "order-status-routing"),
    ],
)
def test_without_redis_a_hint_is_dropped_and_counted(status: OrderStatus, queue: str) -> None:
    before = dropped(queue)
    with a_closed_port() as port:
        announce(f"redis://127.0.0.1:{port}/0", [an_event(status=status, occurred_at=NOON)])

    assert dropped(queue) == before + 1
