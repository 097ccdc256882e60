"""The lives of a fleet: each ends by a signal, by a change of its sources, or by a broken part."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy.exc import OperationalError

from order_engine.execution.migrations.main import migrate
from order_engine.local.datastores import Datastores
from order_engine.local.fleet import Fleet
from order_engine.local.sources import Sources
from order_engine.local.terminal import Terminal
from order_engine.serving.process import stop_signal

READY_TIMEOUT_S = 60
LOOK_EVERY_S = 0.5


class Ending(Enum):
    STOPPED = auto()  # a signal asked for it
    CHANGED = auto()  # the processes run sources that are no more
    BROKEN = auto()  # a part has ended, or never came up


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What is to be kept running. With `sources` it lives again after each change of them."""

    fleet: Fleet
    datastores: Datastores
    terminal: Terminal
    ready_text: str
    sources: Sources | None


async def supervise(engine: Engine) -> int:
    """Runs the engine until it is stopped, or broken with no change to wait for; the exit code."""
    stop = stop_signal()
    ready_text = engine.ready_text
    while not stop.is_set():
        ending = await _live(engine, stop, ready_text=ready_text)
        ready_text = "ready again"
        if ending is Ending.BROKEN and engine.sources:
            engine.terminal.say("waiting for a change of the sources, or Ctrl-C")
            ending, _ = await _first(
                (Ending.STOPPED, _stopped(stop)), (Ending.CHANGED, engine.sources.change())
            )
        if ending is Ending.BROKEN:
            return 1
    return 0


async def _live(engine: Engine, stop: asyncio.Event, *, ready_text: str) -> Ending:
    """One life, from migrations to the end of the last process."""
    if trouble := await asyncio.to_thread(_migrate, engine.datastores):
        engine.terminal.say(trouble)
        return Ending.BROKEN
    try:
        await engine.fleet.start()
        endings = [
            (Ending.STOPPED, _stopped(stop)),
            (Ending.BROKEN, _ended(engine.fleet)),
            (Ending.BROKEN, _late(engine, ready_text=ready_text)),
            (Ending.BROKEN, _without_datastores(engine.datastores)),
        ]
        if engine.sources:
            endings.append((Ending.CHANGED, _changed(engine.sources)))
        ending, line = await _first(*endings)
        engine.terminal.say(line)
        return ending
    finally:
        with _hurried_by_ctrl_c(engine.fleet, stop):
            await engine.fleet.stop()


@contextmanager
def _hurried_by_ctrl_c(fleet: Fleet, stop: asyncio.Event) -> Iterator[None]:
    def hurry() -> None:
        stop.set()
        fleet.kill()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, hurry)
    yield
    loop.add_signal_handler(signal.SIGINT, stop.set)


def _migrate(datastores: Datastores) -> str | None:
    """What went wrong, if anything."""
    histories = {"orders": datastores.database_url, "chain": datastores.chain_database_url}
    for history, url in histories.items():
        try:
            migrate(url, history=history)
        except OperationalError as error:
            return f"cannot migrate {history}: {' '.join(str(error.orig).split())}"
    return None


async def _first(*endings: tuple[Ending, Coroutine[Any, Any, str]]) -> tuple[Ending, str]:
    """The ending that comes first, and the line that it has to say."""
    tasks = {asyncio.create_task(line): ending for ending, line in endings}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in tasks if task in done)
        return tasks[first], first.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stopped(stop: asyncio.Event) -> str:
    await stop.wait()
    return "stopping; orders in hand are finished first (Ctrl-C again: everything ends at once)"


async def _changed(sources: Sources) -> str:
    return f"{await sources.change()} has changed: starting again"


async def _ended(fleet: Fleet) -> str:
    return str(await fleet.first_end())


async def _late(engine: Engine, *, ready_text: str) -> str:
    """Greets once all are ready, and then never ends."""
    if late := await engine.fleet.until_ready(timeout_s=READY_TIMEOUT_S):
        return f"not ready after {READY_TIMEOUT_S} s: {', '.join(late)}"
    engine.terminal.say(ready_text)
    await asyncio.Event().wait()
    return ""


async def _without_datastores(datastores: Datastores) -> str:
    while not (gone := [store for store in datastores.embedded if store.has_ended]):
        await asyncio.sleep(LOOK_EVERY_S)
    return f"{gone[0].kind} has ended: see {gone[0].log}"
