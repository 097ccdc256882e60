import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rq_slots.executions import StartedJob
from rq_slots.running_jobs import RunningJobs

SOON_S = 0.01


def a_job(*, timeout_s: float) -> StartedJob:
    return StartedJob(
        id=b"job",
        execution=b"execution",
        function=None,
        arguments=[],
        keywords={},
        timeout_s=timeout_s,
        plain=True,
        claimed_at=0.0,
        started_at=0.0,
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    async def within_bounds() -> None:
        async with asyncio.timeout(10):
            await test

    asyncio.run(within_bounds())


async def until(running: RunningJobs, fact: Callable[[], object]) -> None:
    while not fact():
        running.cancel_overdue()
        await asyncio.sleep(SOON_S)


def test_a_job_is_not_cancelled_before_it_begins() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("ended")

    async def test() -> None:
        running = RunningJobs()
        running.start(a_job(timeout_s=0), work())
        running.cancel_overdue()
        await until(running, lambda: not running.jobs)

    run(test())

    assert steps == ["begun", "ended"]


def test_a_job_that_ignores_cancellation_is_cancelled_again() -> None:
    asked: list[str] = []

    async def work() -> None:
        while len(asked) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                asked.append(str(cancelled))

    async def test() -> None:
        running = RunningJobs()
        running.start(a_job(timeout_s=0), work())
        await until(running, lambda: not running.jobs)

    run(test())

    assert asked == ["the timeout of 0 s has passed"] * 2


def test_a_job_within_its_timeout_is_not_cancelled() -> None:
    async def test() -> None:
        running, gate = RunningJobs(), asyncio.Event()
        running.start(a_job(timeout_s=3600), gate.wait())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        running.cancel_overdue()
        await asyncio.sleep(0)
        assert len(running.jobs) == 1
        gate.set()
        await until(running, lambda: not running.jobs)

    run(test())


def test_end_does_not_wait_for_a_job_that_ignores_cancellation() -> None:
    asked: list[bool] = []

    async def work() -> None:
        while not asked:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked.append(True)
        await asyncio.Event().wait()

    async def test() -> None:
        running = RunningJobs()
        running.start(a_job(timeout_s=3600), work())
        await running.end(timeout_s=SOON_S, cancelled_within_s=SOON_S)
        assert len(running.jobs) == 1

    run(test())

    assert asked == [True]
