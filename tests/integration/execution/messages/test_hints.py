"""Hints on real Redis."""

import json
import zlib
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.hints import Hints
from order_engine.execution.messages.seals import Seal
from order_engine.execution.stores.redis_clients import redis_client
from support.builders import NOON, ORDER_ID, an_event
from support.serving import a_closed_port

SEAL = Seal(b"s" * 32)


def hints_at(client: redis.Redis) -> Hints:
    return Hints(client, SEAL, now=lambda: NOON + timedelta(seconds=1))


def queued(client: redis.Redis, queue: str) -> list[str]:
    return [
        job_id.decode()
        for job_id in client.lrange(f"rq:queue:{queue}", 0, -1)
        if isinstance(job_id, bytes)
    ]


def arguments_of(client: redis.Redis, job_id: str) -> list[Any]:
    data = client.hget(f"rq:job:{job_id}", "data")
    assert isinstance(data, bytes)
    arguments: list[Any] = json.loads(zlib.decompress(data))[2]
    return arguments


def dropped(queue: str) -> float:
    return REGISTRY.get_sample_value("order_engine_hints_dropped_total", {"queue": queue}) or 0.0


def test_an_order_that_waits_is_a_job_of_the_order_queue(client: redis.Redis) -> None:
    with closing(hints_at(client)) as hints:
        hints.order_waits(ORDER_ID, created_at=NOON)

    assert queued(client, "orders") == [f"o-{ORDER_ID}"]
    assert arguments_of(client, f"o-{ORDER_ID}") == [str(ORDER_ID)]


def test_an_order_that_moved_is_a_job_with_its_sealed_frame(client: redis.Redis) -> None:
    event = an_event(status=OrderStatus.ROUTING, seq=2, occurred_at=NOON)
    with closing(hints_at(client)) as hints:
        hints.order_moved(event)

    [job_id] = queued(client, "order-status-routing")
    order_id, message, committed_at = arguments_of(client, job_id)
    text = SEAL.open(message.encode())
    assert (order_id, committed_at) == (str(ORDER_ID), NOON.timestamp())
    assert text is not None
    assert json.loads(text) == frame(event)


def test_hints_keep_the_order_of_the_calls(client: redis.Redis) -> None:
    events = [
        an_event(status=OrderStatus.FAILED, seq=seq, occurred_at=NOON) for seq in range(2, 52)
    ]
    with closing(hints_at(client)) as hints:
        for event in events:
            hints.order_moved(event)

    assert queued(client, "order-status-failed") == [f"s-{ORDER_ID}-{seq}" for seq in range(2, 52)]


@pytest.mark.parametrize("queue", ["orders", "order-status-routing"])
def test_without_redis_a_hint_is_dropped_and_counted(queue: str) -> None:
    before = dropped(queue)
    with (
        a_closed_port() as port,
        closing(hints_at(redis_client(f"redis://127.0.0.1:{port}/0"))) as hints,
    ):
        if queue == "orders":
            hints.order_waits(ORDER_ID, created_at=NOON)
        else:
            hints.order_moved(an_event(status=OrderStatus.ROUTING, seq=2, occurred_at=NOON))

    assert dropped(queue) == before + 1
