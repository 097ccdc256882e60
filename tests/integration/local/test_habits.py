"""The embedded servers start whatever the user, the shell and the directory are like."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from order_engine.local.datastores import Kind

ASK = """
import os, sys
from contextlib import closing
from pathlib import Path
import psycopg2, redis
os.umask(int(sys.argv[1], 8))
from order_engine.local.datastores import embedded
with embedded(sys.argv[2], Path(sys.argv[3])) as server:
    if sys.argv[2] == "redis":
        print(redis.Redis.from_url(server.url).ping())
    else:
        with closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            print(cursor.fetchone()[0])
"""
CREATE = """
import sys
from pathlib import Path
from order_engine.local import postgres_files
postgres_files.BIN = Path(sys.argv[1])
postgres_files.create_data_directory(Path(sys.argv[2]), None)
"""
STARTED = {"postgres": "UTF8", "redis": "True"}
NOBODYS_UID = 23_456  # has no entry in /etc/passwd

ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "a locale that is not installed": {"LANG": "en_US.UTF-8"},
    "LC_ALL of nowhere": {"LC_ALL": "xx_YY.UTF-8", "LC_MESSAGES": "de_DE@euro"},
    "an encoding of its own": {"LANG": "de_DE.ISO-8859-1", "LANGUAGE": "de"},
    "the settings of another PostgreSQL": {
        "PGDATA": "/nowhere",
        "PGHOST": "db.example",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGPASSWORD": "secret",
        "PGOPTIONS": "-c search_path=nowhere",
        "PGCLIENTENCODING": "LATIN1",
    },
    "no HOME": {"HOME": "/nowhere"},
    "a TMPDIR that does not exist": {"TMPDIR": "/nowhere/at/all"},
    "a strange time zone": {"TZ": "Mars/Olympus"},
}


def started(
    kind: Kind,
    directory: Path,
    environment: Mapping[str, str],
    *,
    umask: str = "022",
    before: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", ASK, umask, kind, str(directory)],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("kind", STARTED)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_server_starts_in_the_environment_of(directory: Path, kind: Kind, name: str) -> None:
    answer = started(kind, directory, ENVIRONMENTS[name])

    assert (answer.stdout.strip(), answer.stderr) == (STARTED[kind], "")


@pytest.mark.parametrize("kind", STARTED)
def test_a_server_starts_in_a_directory_with_any_name(directory: Path, kind: Kind) -> None:
    answer = started(kind, directory / "my proj \u00e9 'x'", {"LC_ALL": "C"})

    assert (answer.stdout.strip(), answer.stderr) == (STARTED[kind], "")


@pytest.mark.parametrize("kind", STARTED)
def test_a_server_starts_under_a_strict_umask(directory: Path, kind: Kind) -> None:
    answer = started(kind, directory / "data", {}, umask="077")

    assert (answer.stdout.strip(), answer.stderr) == (STARTED[kind], "")


@pytest.mark.parametrize("kind", STARTED)
def test_a_server_starts_with_a_long_path_for_temporary_files(directory: Path, kind: Kind) -> None:
    temporary = directory / ("t" * 100)
    temporary.mkdir()
    answer = started(kind, directory / "data", {"TMPDIR": str(temporary)})

    assert (answer.stdout.strip(), answer.stderr) == (STARTED[kind], "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_that_initdb_does_not_know_is_told_so_in_one_line(directory: Path) -> None:
    os.chown(directory, NOBODYS_UID, NOBODYS_UID)
    become = ["setpriv", f"--reuid={NOBODYS_UID}", f"--regid={NOBODYS_UID}", "--clear-groups"]
    reads = subprocess.run(
        [*become, sys.executable, "-c", "import order_engine.local.embedded_server"],
        capture_output=True,
        check=False,
    )
    if reads.returncode:
        pytest.skip("other users cannot read this copy of the project")
    answer = started("postgres", directory, {}, before=become)

    assert answer.stderr.startswith(f"cannot start: postgres: uid {NOBODYS_UID} has no entry")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["my $dir", "a`b", 'a"b', "a\\b"])
def test_a_name_that_initdb_cannot_run_below_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", CREATE, str(tmp_path / name / "bin"), str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "initdb does not run below a directory whose name has " in refused.stderr
