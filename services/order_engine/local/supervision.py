"""Runs the processes until a signal, a change of the sources, or the failure of a part."""

import asyncio
import signal
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from sqlalchemy.exc import OperationalError

from order_engine.execution.migrations.main import migrate
from order_engine.local.datastores import Datastores
from order_engine.local.fleet import Fleet
from order_engine.local.sources import changed_source
from order_engine.local.terminal import report
from order_engine.serving.process import stop_signal

READY_TIMEOUT_S = 60
DATASTORE_CHECK_EVERY_S = 0.5
STOPPING = "stopping; orders in progress are finished first (Ctrl-C again stops at once)"


class Ending(Enum):
    STOPPED = auto()  # by a signal
    CHANGED = auto()  # a source file has changed
    FAILED = auto()  # a part has ended, or did not become ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    fleet: Fleet
    datastores: Datastores
    ready_text: str
    reload: bool  # start again after each change of the sources


async def supervise(engine: Engine) -> int:
    """Runs the engine until it is stopped or fails; the exit code."""
    stop = stop_signal()
    ready_text = engine.ready_text
    while True:
        # begins before the processes load the sources, so that no change is missed
        change = asyncio.create_task(changed_source() if engine.reload else _never())
        try:
            ending = await _run(engine, stop, change, ready_text=ready_text)
            if ending is Ending.FAILED and engine.reload and not stop.is_set():
                report("waiting for a change of the sources (Ctrl-C ends)")
                ending = await _first(
                    (Ending.STOPPED, stop.wait()), (Ending.CHANGED, _changed(change))
                )
        finally:
            change.cancel()
        if stop.is_set() or ending is Ending.STOPPED:
            return 0
        if ending is Ending.FAILED:
            return 1
        ready_text = "ready again"


async def _run(
    engine: Engine, stop: asyncio.Event, change: asyncio.Task[str], *, ready_text: str
) -> Ending:
    """Migrates, then runs all processes until the first ending."""
    if problem := await asyncio.to_thread(_migrate, engine.datastores):
        report(problem)
        return Ending.FAILED
    try:
        await engine.fleet.start()
        return await _first(
            (Ending.STOPPED, _stopped(stop)),
            (Ending.FAILED, _process_ended(engine.fleet)),
            (Ending.FAILED, _not_ready(engine.fleet, ready_text=ready_text)),
            (Ending.FAILED, _datastore_ended(engine.datastores)),
            (Ending.CHANGED, _changed(change)),
        )
    finally:
        with _second_ctrl_c_kills(engine.fleet, stop):
            await engine.fleet.stop()


@contextmanager
def _second_ctrl_c_kills(fleet: Fleet, stop: asyncio.Event) -> Iterator[None]:
    def kill() -> None:
        stop.set()
        fleet.kill()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, kill)
    yield
    loop.add_signal_handler(signal.SIGINT, stop.set)


def _migrate(datastores: Datastores) -> str | None:
    """The problem, if there is one."""
    histories = {"orders": datastores.database_url, "chain": datastores.chain_database_url}
    for history, url in histories.items():
        try:
            migrate(url, history=history)
        except OperationalError as error:
            return f"cannot migrate the database of {history}: {' '.join(str(error.orig).split())}"
    return None


async def _first(*endings: tuple[Ending, Awaitable[object]]) -> Ending:
    """Waits for the first of them, and cancels the others."""
    tasks = {asyncio.ensure_future(waiting): ending for ending, waiting in endings}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in tasks if task.done())
        first.result()
        return tasks[first]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    report(STOPPING)


async def _changed(change: asyncio.Task[str]) -> None:
    report(f"{await asyncio.shield(change)} has changed: starting again")


async def _process_ended(fleet: Fleet) -> None:
    report(str(await fleet.first_end()))


async def _not_ready(fleet: Fleet, *, ready_text: str) -> None:
    """Reports when all processes are ready; returns only when some are not in time."""
    if late := await fleet.until_ready(timeout_s=READY_TIMEOUT_S):
        report(f"not ready after {READY_TIMEOUT_S} s: {', '.join(late)}")
        return
    report(ready_text)
    await _never()


async def _datastore_ended(datastores: Datastores) -> None:
    while not (ended := [store for store in datastores.embedded if store.has_ended]):
        await asyncio.sleep(DATASTORE_CHECK_EVERY_S)
    report(f"{ended[0].kind} has ended: see {ended[0].log}")


async def _never() -> str:
    await asyncio.Event().wait()
    return ""
