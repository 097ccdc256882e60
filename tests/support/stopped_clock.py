"""An event loop whose clock stands still, for code that must not wait for a time."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class StoppedClockLoop(asyncio.SelectorEventLoop):
    """Runs callbacks and I/O as usual. A timer never fires: no sleep ends and no timeout expires."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped_at = super().time()

    def time(self) -> float:
        return getattr(self, "_stopped_at", 0.0)


def run_without_timers(work: Coroutine[Any, Any, None], *, deadline_s: float) -> None:
    """Runs `work` on such a loop; raises TimeoutError when it is not done after `deadline_s`."""

    async def cancellable() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        watchdog = threading.Timer(deadline_s, loop.call_soon_threadsafe, [task.cancel])
        watchdog.start()
        try:
            await work
        except asyncio.CancelledError as cancelled:
            raise TimeoutError("the work waits for a timer") from cancelled
        finally:
            watchdog.cancel()

    with asyncio.Runner(loop_factory=StoppedClockLoop) as runner:
        runner.run(cancellable())
