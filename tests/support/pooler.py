"""PgBouncer between the engine and PostgreSQL. `.ci/run` installs it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from support.ports import free_port
from support.waiting import wait_until

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
DEFAULTS: Mapping[str, str] = {"pool_mode": "transaction"}


def pgbouncer() -> str:
    found = shutil.which("pgbouncer", path=f"{os.get_exec_path()[0]}:/usr/sbin:{os.defpath}")
    if found is None:
        reason = "no pgbouncer (apt-get install pgbouncer)"
        if "CI" in os.environ:  # noqa: TID251 - a test setting, not one of the engine
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def pooled(server_url: str, options: Mapping[str, str] = DEFAULTS) -> Iterator[str]:
    """The same database through a PgBouncer with these options, and defaults otherwise."""
    program = pgbouncer()
    server = parse_dsn(server_url)
    server.setdefault("port", "5432")
    user, password = server["user"], server.get("password", "")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="order-engine-tests-") as directory:
        where = Path(directory)
        where.chmod(0o755)
        (where / "users.txt").write_text(f'"{user}" "{password}"\n')
        (where / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server['host']} port={server['port']}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {where / 'users.txt'}\n"
            + "".join(f"{name} = {value}\n" for name, value in options.items())
        )
        # it refuses to run as root
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        with (where / "log").open("wb") as log:
            running = subprocess.Popen(
                [program, where / "pgbouncer.ini"],
                stdout=log,
                stderr=log,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=() if account else None,
            )
        url = f"postgresql://{quote(user)}@127.0.0.1:{port}/{quote(server['dbname'])}"
        try:
            wait_until(lambda: _answers(url), timeout_s=START_TIMEOUT_S, what="PgBouncer")
            yield url
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(STOP_TIMEOUT_S)


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True
