"""The deployables as processes that a test starts, kills, pauses and starts again."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from order_engine.client import EngineClient
from order_engine.execution.deployables import WORKLOADS, deployable_of
from order_engine.execution.domain.status import OrderStatus
from support.ports import free_port
from support.stores import Databases
from support.waiting import wait_until

DISPATCHERS = tuple(f"status-dispatcher-{status}" for status in OrderStatus)
EVERY_DEPLOYABLE = tuple(WORKLOADS)

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40
INSTANT = {
    "VENUE_QUOTE_LATENCY_S": "0",
    "VENUE_QUOTE_JITTER_S": "0",
    "VENUE_EXECUTION_MIN_S": "0",
    "VENUE_EXECUTION_MAX_S": "0",
    "VENUE_POLL_S": "0.01",
}


@dataclass(slots=True, kw_only=True)
class Deployable:
    """One process. A suffix of `name` after '#' tells a second copy from the first."""

    name: str
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ports: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        if not self.ports:
            self.ports = {"ADMIN_PORT": free_port(), "PORT": free_port()}
        workload = self.name.partition("#")[0]
        deployable = deployable_of(workload)
        command = [str(Path(sys.executable).parent / deployable.name)]
        if deployable.per_status:
            command += ["--status", workload.removeprefix(f"{deployable.name}-")]
        ports = {name: str(port) for name, port in self.ports.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**self.environment, **ports},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
            )

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
        try:
            url = f"http://127.0.0.1:{self.ports['ADMIN_PORT']}/readyz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metric(self, line_start: str) -> float:
        """The value of the first sample whose line starts with `line_start`; 0 when there is none yet."""
        url = f"http://127.0.0.1:{self.ports['ADMIN_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(line_start):
                    return float(line.rsplit(" ", 1)[1])
        return 0.0

    def kill(self) -> None:
        """Sends SIGKILL and returns once the process has ended."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """Sends SIGTERM and returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_S)


class Fleet:
    """A fleet on its own databases. `close` ends every process that it started."""

    def __init__(
        self,
        databases: Databases,
        redis_url: str,
        directory: Path,
        settings: Mapping[str, str],
    ) -> None:
        self.databases = databases
        self.redis_url = redis_url
        self._directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}},  # noqa: TID251
            "DATABASE_URL": databases.orders_url,
            "CHAIN_DATABASE_URL": databases.chain_url,
            "REDIS_URL": redis_url,
            **settings,
        }
        self.deployables: dict[str, Deployable] = {}

    def __getitem__(self, name: str) -> Deployable:
        return self.deployables[name]

    def start(
        self, names: Iterable[str] = EVERY_DEPLOYABLE, *, within_s: float = START_TIMEOUT_S
    ) -> None:
        """Starts the deployables together and returns once each is ready."""
        started = []
        for name in names:
            if name not in self.deployables:
                self.deployables[name] = Deployable(
                    name=name,
                    environment=self._environment,
                    log=self._directory / f"{name.replace('#', '-')}.log",
                )
            self.deployables[name].start()
            started.append(self.deployables[name])
        for deployable in started:
            wait_until(deployable.is_ready, timeout_s=within_s, what=f"{deployable.name} ready")

    def client(self, api_key: str | None = None) -> EngineClient:
        return EngineClient(
            f"http://127.0.0.1:{self['gateway'].ports['PORT']}",
            api_key=api_key,
            stream_base_url=f"http://127.0.0.1:{self['ws-gateway'].ports['PORT']}",
        )

    def close(self) -> None:
        running = [d for d in self.deployables.values() if d.process and d.process.poll() is None]
        for deployable in running:
            deployable.resume()
            deployable.process.terminate()  # type: ignore[union-attr]
        for deployable in running:
            try:
                deployable.process.wait(STOP_TIMEOUT_S)  # type: ignore[union-attr]
            except subprocess.TimeoutExpired:
                deployable.kill()


@contextmanager
def running_fleet(
    databases: Databases,
    redis_url: str,
    directory: Path,
    settings: Mapping[str, str],
    names: Iterable[str] = EVERY_DEPLOYABLE,
) -> Iterator[Fleet]:
    fleet = Fleet(databases, redis_url, directory, settings)
    try:
        fleet.start(names)
        yield fleet
    finally:
        fleet.close()
