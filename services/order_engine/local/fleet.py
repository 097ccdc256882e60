"""The processes of the local engine: started together, stopped in order."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import httpx2

from order_engine.local.programs import Program, origin
from order_engine.local.terminal import report, show_output

LINE_BYTES_MAX = 1 << 20
READY_CHECK_EVERY_S = 0.1
LAST_OUTPUT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    name: str
    code: int

    def __str__(self) -> str:
        if self.code < 0:
            return f"{self.name} was killed by {signal.Signals(-self.code).name}"
        return f"{self.name} exited with code {self.code}; its last lines are above"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    program: Program
    process: asyncio.subprocess.Process
    end: asyncio.Task[int]
    output: asyncio.Task[None]


class Fleet:
    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str],
        admin_host: str,
        grace_s: float,
    ) -> None:
        self._programs = programs
        self._environment = environment
        self._admin_host = admin_host
        self._grace_s = grace_s
        self._running: list[_Running] = []

    async def start(self) -> None:
        for program in reversed(self._programs):
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "order_engine.local.exit_with_parent",
                    program.module,
                    *program.arguments,
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES_MAX,
                start_new_session=True,  # Ctrl-C reaches the runner only, which stops them in order
                env={
                    **os.environ,  # noqa: TID251 - passed on, not read
                    **self._environment,
                    "ADMIN_PORT": str(program.admin_port),
                },
            )
            self._running.append(
                _Running(
                    program=program,
                    process=process,
                    end=asyncio.create_task(process.wait()),
                    output=asyncio.create_task(_show(program.name, process)),
                )
            )

    async def first_end(self) -> ProcessEnd:
        """Waits for a process to end by itself, and for its last output."""
        done, _ = await asyncio.wait(
            [running.end for running in self._running], return_when=asyncio.FIRST_COMPLETED
        )
        running = next(running for running in self._running if running.end in done)
        await asyncio.wait([running.output], timeout=LAST_OUTPUT_TIMEOUT_S)
        return ProcessEnd(name=running.program.name, code=running.end.result())

    async def until_ready(self, *, timeout_s: float) -> list[str]:
        """Waits for all processes; the names of those that are not ready in time."""
        late = list(self._programs)
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with httpx2.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                late = [program for program in late if not await self._is_ready(client, program)]
                if not late or asyncio.get_running_loop().time() > deadline:
                    return [program.name for program in late]
                await asyncio.sleep(READY_CHECK_EVERY_S)

    async def stop(self) -> None:
        """Stops one module's processes after the other; kills a process that takes too long."""
        for _, stage in groupby(
            reversed(self._running), key=lambda running: running.program.module
        ):
            await self._stop(list(stage))
        if self._running:
            await asyncio.wait(
                [running.output for running in self._running], timeout=LAST_OUTPUT_TIMEOUT_S
            )
        self._running.clear()

    def kill(self) -> None:
        for running in self._running:
            with suppress(ProcessLookupError):
                running.process.kill()

    async def _is_ready(self, client: httpx2.AsyncClient, program: Program) -> bool:
        try:
            url = f"{origin(self._admin_host, program.admin_port)}/readyz"
            return (await client.get(url)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def _stop(self, stage: Sequence[_Running]) -> None:
        for running in stage:
            with suppress(ProcessLookupError):
                running.process.terminate()
        _, late = await asyncio.wait([running.end for running in stage], timeout=self._grace_s)
        for running in stage:
            if running.end in late:
                report(f"{running.program.name} did not stop within {self._grace_s:g} s: killed")
                running.process.kill()
                await running.end


async def _show(name: str, process: asyncio.subprocess.Process) -> None:
    if process.stdout is None:
        return
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            continue  # longer than LINE_BYTES_MAX: dropped, so that the process is not blocked
        if not line:
            return
        show_output(name, line)
