"""A slot worker in its own process, which a test kills.

As a program, this module forks a worker for each line `url file` that it reads, kills it at the
next line, and replies to both lines: a fork is faster than a new interpreter. The worker writes the
numbers of the jobs that ran to the file, because the content of Redis is what the test checks.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from support.rq import NotBegun, a_worker, redis_at

SLOTS = 2
LIMIT = 100
FAILING, POSTPONED = 1, 2


class WorkerLauncher:
    """Starts and kills workers, one at a time."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program = program

    @contextmanager
    def worker(self, redis_url: str, runs: Path) -> Iterator[None]:
        """Runs a worker, and kills it when the context ends."""
        self._send(f"{redis_url} {runs}")
        try:
            yield
        finally:
            self._send("kill")

    def _send(self, line: str) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        print(line, file=self._program.stdin, flush=True)
        assert self._program.stdout.readline() == "done\n"


@contextmanager
def worker_launcher() -> Iterator[WorkerLauncher]:
    command = [sys.executable, "-m", "support.slot_work"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        text=True,
    ) as program:
        yield WorkerLauncher(program)  # the program ends at the end of its input


def runs_in(runs: Path) -> list[int]:
    """The numbers of the jobs that ran, in the order of their starts."""
    return [int(line) for line in runs.read_text().splitlines()] if runs.exists() else []


async def _work(redis_url: str, runs: Path) -> None:
    was_postponed = False

    async def record(n: int) -> None:
        nonlocal was_postponed
        if n == POSTPONED and not was_postponed:
            was_postponed = True
            raise NotBegun("as requested")
        with runs.open("a") as lines:
            lines.write(f"{n}\n")
        if n == FAILING:
            raise RuntimeError("as requested")

    with redis_at(redis_url) as client:
        worker = a_worker(client, record, slots=SLOTS, limit=LIMIT, store_answers=_store_answers)
        await worker.run(asyncio.Event())


async def _store_answers() -> bool:
    return True


def _serve() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # stdout has the replies
    while line := sys.stdin.readline():
        redis_url, runs = line.split()
        worker = os.fork()
        if worker == 0:
            asyncio.run(_work(redis_url, Path(runs)))
            os._exit(1)
        _reply()
        sys.stdin.readline()
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        _reply()


def _reply() -> None:
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
