"""A deployable whose store has a wrong URL ends at once and says so in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from order_engine.execution.deployables import DEPLOYABLES, Deployable
from support.ports import free_port

NOWHERE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/orders",
    "CHAIN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/chain",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
WRONG = {
    "REDIS_URL": "redis://127.0.0.1:1/0?socket_timeout=soon",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/orders?unknown=1",
    "CHAIN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/chain?options=--statement-timeout%3D0",
}


@pytest.mark.parametrize("deployable", DEPLOYABLES, ids=lambda deployable: deployable.name)
@pytest.mark.parametrize("setting", WRONG)
def test_it_ends_with_one_line(deployable: Deployable, setting: str) -> None:
    if setting not in deployable.urls:
        pytest.skip(f"{deployable.name} does not open it")
    command = [str(Path(sys.executable).parent / deployable.name)]
    command += ["--status", "pending"] if deployable.per_status else []
    ports = {"ADMIN_PORT": str(free_port()), "PORT": str(free_port())}

    ended = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **NOWHERE, **ports, setting: WRONG[setting]},  # noqa: TID251
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr + ended.stdout
    assert ended.stderr.splitlines()[-1].startswith("cannot ")
