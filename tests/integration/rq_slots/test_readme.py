"""The example of the README runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import redis

import rq_slots

README = Path(rq_slots.__file__).parent / "README.md"


def test_the_example_runs_its_job(client: redis.Redis, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    kwargs = client.connection_pool.connection_kwargs
    # the only changes: the address of the server, and a shorter run
    at_server = f"redis.Redis(host={kwargs['host']!r}, port={kwargs['port']}, "
    program = example.replace("redis.Redis(", at_server).replace("call_later(5,", "call_later(1,")
    assert at_server in program
    assert "call_later(1," in program
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "hello you" in done.stdout.splitlines()
    assert client.keys("rq:job:*") == []
