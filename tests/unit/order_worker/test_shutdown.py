import asyncio

import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.order_worker.shutdown import GRACE_S, unless_stopped

ANSWER = "an answer"


async def after(delay_s: float) -> str:
    await asyncio.sleep(delay_s)
    return ANSWER


def test_an_answer_is_waited_for_as_long_as_nobody_says_stop() -> None:
    async def work() -> str:
        return await unless_stopped(asyncio.Event(), after(0.01))

    assert asyncio.run(work()) == ANSWER


def test_an_answer_soon_after_the_stop_is_taken() -> None:
    async def work() -> str:
        stop = asyncio.Event()
        stop.set()
        return await unless_stopped(stop, after(0.05))

    assert asyncio.run(work()) == ANSWER


def test_no_answer_is_waited_for_long_after_the_stop() -> None:
    async def work() -> float:
        stop, begun = asyncio.Event(), asyncio.get_running_loop().time()
        stop.set()
        with pytest.raises(StoreUnavailable):
            await unless_stopped(stop, after(60))
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(work()) < GRACE_S + 1


def test_an_error_is_raised_as_it_is() -> None:
    async def fails() -> None:
        raise ValueError("wrong")

    async def work() -> None:
        with pytest.raises(ValueError, match="wrong"):
            await unless_stopped(asyncio.Event(), fails())

    asyncio.run(work())


def test_whoever_waits_no_more_ends_the_call() -> None:
    async def work() -> bool:
        asking = asyncio.create_task(after(60))
        waiting = asyncio.create_task(unless_stopped(asyncio.Event(), asking))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting, asking}, timeout=5)
        return asking.cancelled()

    assert asyncio.run(work())
