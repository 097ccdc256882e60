"""The library rq_slots works without the engine: its tests pass in a copy that has none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A file of this name runs when an interpreter starts, so the programs that tests start have it too.
SITECUSTOMIZE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"order_engine", "psycopg2"}:
            raise ModuleNotFoundError(f"rq_slots must not import {name}", name=name)

sys.meta_path.insert(0, Refuse())
"""

CHECK = """
import importlib.util, pathlib, sys
import rq_slots
assert pathlib.Path(rq_slots.__file__).is_relative_to(sys.argv[1]), rq_slots.__file__
for name in ("order_engine", "psycopg2"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} can be imported")
"""


def test_the_tests_of_the_library_pass_without_the_engine(tmp_path: Path) -> None:
    copy, guard = tmp_path / "copy", tmp_path / "guard"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "order_engine")
    for folder in ("services", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", copy)
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(SITECUSTOMIZE)
    path = os.pathsep.join([str(guard), str(copy / "services")])

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env={"PATH": os.defpath, "PYTHONPATH": path, "TEST_STORES": "embedded"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("-c", CHECK, str(copy))
    # all modules are collected, and so imported
    run(
        *(
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not integration or test_worker_hints",
        ),
        *("tests/unit/rq_slots", "tests/integration/rq_slots"),
    )
