"""The Node peer, as one process on the stores of the run."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench.rivals import Servers, empty
from order_engine.local.datastores import create_database
from support.ports import free_port
from support.stores import execute
from support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
PEER = REPOSITORY.parent / "shared" / "peer" / "node"
PEER_READY_S = 30

PEER_UNLIMITED = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
PEER_INSTANT = dict.fromkeys(("QUOTE_MIN_MS", "QUOTE_MAX_MS", "EXEC_MIN_MS", "EXEC_MAX_MS"), "0")
PEER_TUNED = {"KEEP_COMPLETED": "0", "STATUS_PRIORITY": "0"}


class Peer:
    """The Node engine: one process. `tuned` is not how it ships, and the fairer comparison."""

    name = "peer"
    id_column = "order_id"

    def __init__(self, servers: Servers, directory: Path, *, tuned: bool = True) -> None:
        self.servers = servers
        self._directory = directory
        self._tuned = tuned
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.streams_url = f"ws://127.0.0.1:{self._port}"
        self.database_url = create_database(servers.postgres.url, "peer")
        self._program = _installed_peer()

    @property
    def pids(self) -> Sequence[int]:
        return [self._process.pid] if self._process else []

    def reset(self) -> None:
        execute(self.database_url, "DROP TABLE IF EXISTS orders, bench_audit CASCADE")
        empty(self.servers)

    def start(self, *, intake_only: bool = False, instant: bool = False, slots: int = 10) -> None:
        redis_address = urlsplit(self.servers.queues.url)
        [sockets] = parse_qs(urlsplit(self.database_url).query)["host"]
        environment = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - for node
            "NODE_ENV": "production",
            "ROLE": "intake" if intake_only else "all",
            "PORT": str(self._port),
            "DATABASE_URL": f"socket:{sockets}?db=peer&user=postgres",
            "REDIS_HOST": str(redis_address.hostname),
            "REDIS_PORT": str(redis_address.port),
            "QUEUE_MAX_CONCURRENCY": str(slots),
            **PEER_UNLIMITED,
            **(PEER_INSTANT if instant else {}),
            **(PEER_TUNED if self._tuned else {}),
        }
        log_path = self._directory / "peer.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", "src/main.js"],
                cwd=self._program,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: self._is_ready(log_path), timeout_s=PEER_READY_S, what="the peer ready")

    def _is_ready(self, log: Path) -> bool:
        text = log.read_text(errors="replace")
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the peer ended:\n{text[-2000:]}")
        return "peer ready" in text

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        self._process = None

    def chain_cpu_s(self) -> float:
        return 0.0  # its venues are timers


def _installed_peer() -> Path:
    """A copy with its packages, kept between runs."""
    program = REPOSITORY / ".local" / "bench-peer"
    if not (program / "node_modules").exists():
        shutil.copytree(PEER, program, dirs_exist_ok=True)
        subprocess.run(
            ["npm", "install", "--omit=dev", "--no-audit", "--no-fund"],
            cwd=program,
            check=True,
            capture_output=True,
        )
    return program
