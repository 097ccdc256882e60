"""The life of a process: its event loop, and the signal that ends it."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

GC_THRESHOLD = 10_000  # new objects until the collector looks for cycles; few requests make any


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. Needs a running event loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the main coroutine of a process to its end, on uvloop."""
    gc.freeze()  # what was imported stays: the collector need not visit it again and again
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
