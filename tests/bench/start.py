"""The time from the start of a process until it is ready."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rivals import Engine
from bench.table import Figures
from support.ports import free_port
from support.waiting import wait_until

# A workload of each kind of process.
KINDS = {
    "gateway": "gateway",
    "order-worker": "order-worker",
    "status-dispatcher": "status-dispatcher-pending",
    "ws-gateway": "ws-gateway",
}
READY = "The engine is ready."
TIMEOUT_S = 60.0


def processes(engine: Engine) -> Figures:
    """Seconds until /readyz answers 200, for each kind of process alone."""
    engine.reset()
    return {f"{kind} s": ready_s(engine, name) for kind, name in KINDS.items()}


def ready_s(engine: Engine, name: str) -> float:
    began = time.perf_counter()
    engine.start_only((name,), {})
    took_s = time.perf_counter() - began
    engine.stop()
    return took_s


def whole_engine(engine: Engine) -> Figures:
    """Seconds until `make run` reports that it is ready, on stores that an earlier run has made."""
    del engine  # it runs on stores of its own
    with tempfile.TemporaryDirectory(prefix="order-engine-bench-") as name:
        directory = Path(name)
        with running(directory):
            pass
        began = time.perf_counter()
        with running(directory):
            return {"make run s": time.perf_counter() - began}


@contextmanager
def running(directory: Path) -> Iterator[None]:
    """`make run` in this directory, ready."""
    log = directory / "run.log"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "order_engine.local"],
            cwd=directory,
            env={**kept, "PORT": str(free_port()), "ADMIN_PORT": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: READY in log.read_text() or process.poll() is not None, timeout_s=TIMEOUT_S
        )
        if process.poll() is not None:
            raise SystemExit(f"make run ended:\n{log.read_text()[-2000:]}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
