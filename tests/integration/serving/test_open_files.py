"""A door started where the system gives few open files, or few at first."""

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
    """What a process with these limits says."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout + done.stderr


def test_a_door_takes_all_open_files_that_the_system_gives() -> None:
    assert started(hard=1_000).splitlines()[-1] == "1000"


def test_a_door_says_that_the_system_gives_too_few() -> None:
    said = started(hard=NEEDED - 1)

    assert said.count(WARNING) == 1
    assert str(NEEDED) in said


def test_a_door_that_has_enough_open_files_says_nothing() -> None:
    assert WARNING not in started(hard=NEEDED)
