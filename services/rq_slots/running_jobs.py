"""The tasks of one worker's running jobs, and their timeouts."""

import asyncio
import math
import time
from collections.abc import Coroutine, Sequence

from rq_slots.executions import StartedJob

CANCEL_AGAIN_AFTER_S = 1.0


class RunningJobs:
    """Checks all timeouts together, because a timer for each job would cost more than most jobs."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], StartedJob] = {}
        self._overdue_at: dict[bytes, float] = {}  # by execution; only jobs that have begun

    @property
    def jobs(self) -> Sequence[StartedJob]:
        """Safe to read from any thread."""
        return list(self._tasks.values())

    def start(self, job: StartedJob, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(self._run(job, work))
        self._tasks[task] = job
        task.add_done_callback(self._forget)

    def cancel_overdue(self) -> None:
        """Call about once a second. A task that ignores cancellation is cancelled again."""
        now = time.monotonic()
        for task, job in self._tasks.items():
            # a task that is cancelled before its first step would never report its job
            if now > self._overdue_at.get(job.execution, math.inf):
                self._overdue_at[job.execution] = now + CANCEL_AGAIN_AFTER_S
                task.cancel(f"the timeout of {job.timeout_s:g} s has passed")

    async def end(self, *, timeout_s: float, cancelled_within_s: float) -> None:
        """Waits for all tasks, then cancels those that still run and waits for them too."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=cancelled_within_s)

    async def _run(self, job: StartedJob, work: Coroutine[None, None, None]) -> None:
        self._overdue_at[job.execution] = time.monotonic() + job.timeout_s
        await work

    def _forget(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        self._overdue_at.pop(job.execution, None)
