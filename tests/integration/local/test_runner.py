"""`make run` as a user runs it."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from support.fleet import INSTANT
from support.ports import free_port
from support.waiting import wait_until

ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageTolerance": 1.5}
READY = "The engine is ready."
TIMEOUT_S = 60


class Run:
    """One `python -m order_engine.local`. All its processes have the same mark in their environment."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._mark = uuid.uuid4().hex
        self._log = directory / "run.log"
        self.url = f"http://127.0.0.1:{settings['PORT']}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "order_engine.local"],
                cwd=directory,
                env={**kept, **settings, "RUN_MARK": self._mark},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def until_ready(self) -> None:
        wait_until(lambda: READY in self.output or self.process.poll() is not None, timeout_s=60)
        assert READY in self.output, self.output

    def processes(self, of: str = "") -> list[int]:
        """The running processes of this run that have `of` in their command."""
        mark, found = f"RUN_MARK={self._mark}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if (
                    mark in (entry / "environ").read_bytes()
                    and of.encode() in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
        return found

    def end(self, number: signal.Signals) -> int:
        """Sends the signal to the runner only; its exit code when no process of the run is left."""
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT_S)
        wait_until(lambda: not self.processes(), timeout_s=20, what="every process gone")
        return code

    def place_order(self) -> str:
        answer = httpx2.post(f"{self.url}/api/orders/execute", json=ORDER).raise_for_status()
        return str(answer.json()["orderId"])

    def status(self, order_id: str) -> str:
        answer = httpx2.get(f"{self.url}/api/orders/{order_id}").raise_for_status()
        return str(answer.json()["order"]["status"])


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Run]:
    """A run that is ready; it is ended after the test."""
    run = Run(directory, {"PORT": str(free_port()), "ADMIN_PORT": "0", **settings})
    try:
        run.until_ready()
        yield run
    finally:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


@pytest.mark.fleet
def test_ctrl_c_ends_every_process_and_the_next_run_finds_the_orders(directory: Path) -> None:
    with running(directory, **INSTANT) as run:
        order_id = run.place_order()
        wait_until(lambda: run.status(order_id) == "confirmed", timeout_s=10)
        assert run.end(signal.SIGINT) == 0

    with running(directory, **INSTANT) as run:
        assert run.status(order_id) == "confirmed"
        assert run.end(signal.SIGTERM) == 0


@pytest.mark.fleet
def test_a_killed_runner_leaves_no_processes_and_the_next_run_continues(directory: Path) -> None:
    with running(directory) as run:
        order_id = run.place_order()
        wait_until(lambda: run.status(order_id) != "pending", timeout_s=10)
        run.end(signal.SIGKILL)

    with running(directory) as run:
        wait_until(lambda: run.status(order_id) == "confirmed", timeout_s=30)


@pytest.mark.fleet
def test_a_dead_process_ends_the_run_with_one_line(directory: Path) -> None:
    with running(directory) as run:
        (worker,) = run.processes("order_worker")
        os.kill(worker, signal.SIGKILL)
        code = run.process.wait(TIMEOUT_S)

    assert code == 1
    assert run.output.splitlines()[-1] == "order-worker was killed by SIGKILL"
    assert run.processes() == []


def refusal(directory: Path, **settings: str) -> str:
    """The output of a run that does not start."""
    run = Run(directory, {"PORT": "0", **settings})
    assert run.process.wait(TIMEOUT_S) == 1
    assert not (directory / ".local").exists()
    return run.output


def test_a_taken_port_is_reported_before_anything_starts(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        assert refusal(directory, PORT=port) == (
            f"cannot start: 127.0.0.1 port {port}: Address already in use (set PORT to another)\n"
        )


def test_a_wrong_setting_is_reported_before_anything_starts(directory: Path) -> None:
    (line,) = refusal(directory, VENUE_POLL_S="often").splitlines()

    assert line.startswith("cannot start: VENUE_POLL_S: ")


def test_a_redis_that_does_not_answer_is_reported_before_anything_starts(directory: Path) -> None:
    (line,) = refusal(directory, REDIS_URL=f"redis://127.0.0.1:{free_port()}").splitlines()

    assert line.startswith("cannot start: Redis does not answer: ")
