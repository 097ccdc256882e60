import asyncio

import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.order_worker.shutdown import unless_stopped

RESULT = "a result"
WITHIN_S = 60.0


async def after(delay_s: float) -> str:
    await asyncio.sleep(delay_s)
    return RESULT


def test_a_call_is_awaited_until_it_returns() -> None:
    async def work() -> str:
        return await unless_stopped(asyncio.Event(), after(0.01))

    assert asyncio.run(work()) == RESULT


def test_a_result_within_a_second_of_the_stop_is_returned() -> None:
    async def work() -> str:
        stop = asyncio.Event()
        stop.set()
        return await unless_stopped(stop, after(0.05))

    assert asyncio.run(work()) == RESULT


def test_a_call_without_a_result_a_second_after_the_stop_is_unavailable() -> None:
    async def work() -> None:
        stop, never = asyncio.Event(), asyncio.Event()
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(StoreUnavailable):
                await unless_stopped(stop, never.wait())

    asyncio.run(work())


def test_an_error_of_the_call_is_raised_unchanged() -> None:
    async def fails() -> None:
        raise ValueError("wrong")

    async def work() -> None:
        with pytest.raises(ValueError, match="wrong"):
            await unless_stopped(asyncio.Event(), fails())

    asyncio.run(work())


def test_cancelling_the_wait_cancels_the_call() -> None:
    async def work() -> bool:
        calling = asyncio.create_task(after(3_600))
        waiting = asyncio.create_task(unless_stopped(asyncio.Event(), calling))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting, calling}, timeout=WITHIN_S)
        return calling.cancelled()

    assert asyncio.run(work())
