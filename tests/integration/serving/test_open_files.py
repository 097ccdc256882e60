"""A public server on a system that allows few open files."""

import subprocess
import sys

START = """
import resource
from order_engine.execution.logs import configure_logs
from order_engine.serving.server import serving_public

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
configure_logs(level="INFO", deployable="test")
serving_public(None, host="127.0.0.1", port=0, connections_max=10)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
WARNING = "too few open files for all connections"
NEEDED = 210


def started(*, soft: int = 100, hard: int) -> str:
    """The output of a process with these limits: its log, then its soft limit."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout + done.stderr


def test_a_server_raises_its_limit_as_far_as_the_system_allows() -> None:
    assert started(hard=1_000).splitlines()[-1] == "1000"


def test_a_server_warns_when_the_system_allows_too_few_open_files() -> None:
    output = started(hard=NEEDED - 1)

    assert output.count(WARNING) == 1
    assert str(NEEDED) in output


def test_a_server_with_enough_open_files_logs_nothing() -> None:
    assert WARNING not in started(hard=NEEDED)
