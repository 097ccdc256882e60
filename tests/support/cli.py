"""`order-engine` as an operator runs it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def order_engine(database_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return order_engine_in({"DATABASE_URL": database_url, "COLUMNS": "200"}, *arguments)


def order_engine_in(
    environment: Mapping[str, str], *arguments: str | bytes
) -> "subprocess.CompletedProcess[str]":
    """Runs it with this environment and no other variable."""
    return subprocess.run(
        [Path(sys.executable).parent / "order-engine", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(ended: "subprocess.CompletedProcess[str]") -> str:
    """All that the program has printed, which must be one line, when it has failed."""
    assert ended.returncode in {1, 2}, ended
    [line] = f"{ended.stdout}{ended.stderr}".splitlines()
    return line
