"""A slot worker keeps its rate limit when another client writes to the window in Redis."""

import asyncio
import time

import pytest
import redis

from rq_slots.rate_window import WINDOW_S, RateWindow
from support.rq import (
    INTERMEDIATE,
    LIST,
    WINDOW,
    claims_again,
    enqueue,
    keeps_working,
    recorder,
    until,
    working,
)


@pytest.fixture
def crowd(client: redis.Redis) -> None:
    """As many starts in the far future as the window allows."""
    client.zadd(WINDOW, {f"forged-{n}": time.time() + 10**6 + n for n in range(9)})
    client.zadd(WINDOW, {"forged-forever": "+inf"})


@pytest.mark.usefixtures("crowd")
def test_starts_in_the_far_future_do_not_fill_the_window(client: redis.Redis) -> None:
    keeps_working(client, limit=10)

    assert [member for member in client.zrange(WINDOW, 0, -1) if b"forged" in member] == []


@pytest.mark.usefixtures("crowd")
def test_starts_in_the_far_future_take_no_tokens(client: redis.Redis) -> None:
    window = RateWindow(client, key=WINDOW, limit=10, shared=True)
    window.merge_known_starts({})

    assert len(window.take(10)) == 10


def test_a_worker_keeps_its_limit_when_its_window_is_deleted_repeatedly(
    client: redis.Redis,
) -> None:
    started, note = recorder()

    async def no_starts() -> dict[str, float]:
        return {}

    async def work() -> None:
        enqueue(client, 50)
        async with working(
            client, note, limit=10, slots=3, recent_starts=no_starts, call_interval_s=0.05
        ) as worker:
            for _ in range(20):
                client.delete(WINDOW)
                client.set(f"{WINDOW}:known", 1)
                await claims_again(worker)

            assert worker.last_claim is not None
            assert worker.last_claim.tokens_left == 0

    asyncio.run(work())

    assert sorted(started) == list(range(10))
    assert client.llen(LIST) == 40


def test_a_worker_at_its_own_limit_pauses_and_holds_no_job(client: redis.Redis) -> None:
    async def work() -> float:
        enqueue(client, 5)
        async with working(client, limit=2) as worker:
            await until(lambda: worker.last_claim and worker.last_claim.tokens_left == 0)
            client.delete(WINDOW)
            await claims_again(worker)
            since = time.monotonic()
            await claims_again(worker)
            assert worker.last_claim is not None
            assert worker.last_claim.wait_s > WINDOW_S - 10
            return time.monotonic() - since

    assert asyncio.run(work()) > 0.5
    assert (client.llen(LIST), client.llen(INTERMEDIATE)) == (3, 0)
