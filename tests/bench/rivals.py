"""The stores of a run, and the engine on them; peer.py has the other rival."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import redis

from bench.cpu import process_stat, tree_cpu_s
from order_engine.execution.migrations.main import migrate
from order_engine.local.datastores import Datastore, create_database, embedded
from support.evidence import rows
from support.fleet import EVERY_DEPLOYABLE, INSTANT, Fleet
from support.ports import free_port
from support.stores import Databases, execute

TESTS = Path(__file__).resolve().parents[1]

POSTGRES = {"track_commit_timestamp": "on"}  # read by the delivery rows
REDIS = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}

# Every limit stays on; those of the rates are too high to be reached.
UNREACHED = {
    "LOG_LEVEL": "INFO",
    "AUTH": "open",
    "HTTP_RATE_LIMIT_PER_ADDRESS": "1000000",
    "QUEUE_RATE_LIMIT_PER_MINUTE": "1000000",
    "WS_WORKER_RATE_LIMIT": "1000000",
    "ORDERS_WAITING_MAX": "1000000",
    "WS_CONNECTIONS_PER_ADDRESS": "100000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    postgres: Datastore
    queues: Datastore

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.queues.url)

    def commands(self) -> int:
        with self.client() as client:
            return int(client.info("stats")["total_commands_processed"])


@contextmanager
def running_servers(directory: Path) -> Iterator[Servers]:
    """The servers of `make run`, with durability on."""
    with (
        embedded("postgres", directory / "postgres", POSTGRES) as postgres,
        embedded("redis", directory / "redis", REDIS | {"port": str(free_port())}) as redis_server,
    ):
        yield Servers(postgres=postgres, queues=redis_server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Seconds of user and system time since the start of each process."""

    app: float
    redis: float
    postgres: float
    chain: float  # of the simulated chain, which is in `app` and `postgres`, too

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(
            app=self.app - other.app,
            redis=self.redis - other.redis,
            postgres=self.postgres - other.postgres,
            chain=self.chain - other.chain,
        )

    @property
    def total(self) -> float:
        return self.app + self.redis + self.postgres

    @property
    def without_chain(self) -> float:
        return self.total - self.chain


class Rival(Protocol):
    """`reset` empties the stores; `start` keeps what is in them."""

    name: str
    servers: Servers
    url: str
    streams_url: str

    @property
    def database_url(self) -> str: ...
    @property
    def id_column(self) -> str: ...
    @property
    def pids(self) -> Sequence[int]: ...
    def reset(self) -> None: ...
    def start(
        self, *, intake_only: bool = False, instant: bool = False, slots: int = 10
    ) -> None: ...
    def stop(self) -> None: ...
    def chain_cpu_s(self) -> float: ...


def cpu(rival: Rival) -> Cpu:
    return Cpu(
        app=tree_cpu_s(rival.pids),
        redis=tree_cpu_s([rival.servers.queues.keeper.pid]),
        postgres=tree_cpu_s([rival.servers.postgres.keeper.pid]),
        chain=rival.chain_cpu_s(),
    )


class Engine:
    """The fleet of nine processes."""

    name = "engine"
    id_column = "id"

    def __init__(self, servers: Servers, directory: Path) -> None:
        self.servers = servers
        self._directory = directory
        self._fleet: Fleet | None = None
        self._databases: Databases | None = None
        self.url = self.streams_url = ""

    @property
    def database_url(self) -> str:
        assert self._databases is not None
        return self._databases.orders_url

    @property
    def pids(self) -> Sequence[int]:
        if self._fleet is None:
            return []
        running = (each.process for each in self._fleet.deployables.values())
        return [process.pid for process in running if process and process.poll() is None]

    @property
    def fleet(self) -> Fleet:
        assert self._fleet is not None
        return self._fleet

    def reset(self) -> None:
        """Empty stores. The databases of the run before are dropped."""
        if self._databases is not None:
            for url in (self._databases.orders_url, self._databases.chain_url):
                name = urlsplit(url).path.lstrip("/")
                execute(self.servers.postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')
        mark = uuid.uuid4().hex[:8]
        urls = {
            history: create_database(self.servers.postgres.url, f"{history}_{mark}")
            for history in ("orders", "chain")
        }
        for history, url in urls.items():
            migrate(url, history=history)
        self._databases = Databases(orders_url=urls["orders"], chain_url=urls["chain"])
        empty(self.servers)

    def start(self, *, intake_only: bool = False, instant: bool = False, slots: int = 10) -> None:
        settings = {"QUEUE_MAX_CONCURRENCY": str(slots)} | (INSTANT if instant else {})
        self.start_only(("gateway",) if intake_only else EVERY_DEPLOYABLE, settings)
        self.url = f"http://127.0.0.1:{self.fleet['gateway'].ports['PORT']}"
        if not intake_only:
            self.streams_url = f"ws://127.0.0.1:{self.fleet['ws-gateway'].ports['PORT']}"

    def start_only(self, names: Sequence[str], settings: Mapping[str, str]) -> None:
        """Starts these deployables and returns once each is ready."""
        assert self._databases is not None
        self._fleet = Fleet(
            self._databases, self.servers.queues.url, self._directory, {**UNREACHED, **settings}
        )
        self._fleet.start(names)

    def stop(self) -> None:
        if self._fleet is not None:
            self._fleet.close()
        self._fleet = None

    def chain_cpu_s(self) -> float:
        """Of the sessions in which the simulated chain keeps its ledger."""
        sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'simulated-chain'"
        found = rows(self.servers.postgres.url, sessions)
        stats = [process_stat(int(row["pid"])) for row in found]
        return float(sum(stat.own_s for stat in stats if stat))


def empty(servers: Servers) -> None:
    execute(servers.postgres.url, "CHECKPOINT")
    with servers.client() as client:
        client.flushall()


def load(*arguments: object, during: Any = None) -> Mapping[str, Any]:
    """Runs the load client. `during` is called with "measuring" and "measured" as it prints them."""
    command = [sys.executable, "-m", "bench.load", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found: Mapping[str, Any] = json.loads(line)
                return found
            if during is not None:
                during(line.strip())
    raise SystemExit("the load client failed")


def settled(rival: Rival) -> None:
    """Returns when the rival uses less than 10 % of a processor twice in a row, or after 30 s."""
    quiet, before = 0, tree_cpu_s(rival.pids)
    for _ in range(60):
        time.sleep(0.5)
        now = tree_cpu_s(rival.pids)
        quiet = quiet + 1 if now - before < 0.05 else 0
        before = now
        if quiet == 2:
            return
