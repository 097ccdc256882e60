"""`order-engine` as an operator runs it."""

import subprocess
import sys
from pathlib import Path


def order_engine(database_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).parent / "order-engine", *arguments],
        env={"DATABASE_URL": database_url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
