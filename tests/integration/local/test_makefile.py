"""`make` on a machine where pip, Python and the shell are set up for something else."""

import os
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[3] / "Makefile"
WITHIN_S = 120
JUNK = "raise SystemExit('the junk of the user was imported')"
# a project without dependencies, which builds itself
BACKEND = textwrap.dedent("""
    import zipfile
    from pathlib import Path

    def build_editable(directory, config_settings=None, metadata_directory=None):
        name = "mine-1-py3-none-any.whl"
        with zipfile.ZipFile(Path(directory) / name, "w") as wheel:
            wheel.writestr("_order_execution_engine.pth", str(Path.cwd()))
            wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
            wheel.writestr(
                "mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
            )
            wheel.writestr("mine-1.dist-info/RECORD", "")
        return name
""")
PYPROJECT = """
[project]
name = "mine"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

PIP_CONF = "[global]\nuser = true\n[install]\ntarget = {junk}\nprefix = {junk}\nuser = true\n"
HABITS: Mapping[str, Mapping[str, str]] = {
    "pip-variables": {
        "PIP_USER": "1",
        "PIP_TARGET": "{junk}",
        "PIP_PREFIX": "{junk}",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_CONSTRAINT": "{junk}/none",
    },
    "pip-conf": {"PIP_CONFIG_FILE": "{junk}/pip.conf"},
    "python-variables": {
        "PYTHONHOME": "{junk}",
        "PYTHONPATH": "{junk}",
        "PYTHONUSERBASE": "{junk}",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "VIRTUAL_ENV": "{junk}",
    },
    "shell": {"LC_ALL": "C", "LANG": "xx_XX.UTF-8", "HOME": "", "TMPDIR": "{junk}/none"},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our Makefile, in a folder with a strange name."""
    folder = tmp_path / "my proj é's"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(MAKEFILE, folder)
    (folder / "requirements/dev.lock").touch()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "mine.py").write_text("NAME = 'mine'")
    return folder


def made(project: Path, environment: Mapping[str, str], *, umask: int = 0o022) -> str:
    """The output of `make .venv/.stamp`, which has to succeed."""
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}  # noqa: TID251
    done = subprocess.run(
        ["make", ".venv/.stamp"],
        cwd=project,
        env={name: value for name, value in {**kept, **environment}.items() if value},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("habit", HABITS)
def test_the_environment_is_made(habit: str, project: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.mkdir()
    for name in ("encodings.py", "venv.py", "pip.py"):
        (junk / name).write_text(JUNK)
    (junk / "pip.conf").write_text(PIP_CONF.format(junk=junk))
    before = set(junk.rglob("*"))

    output = made(project, {name: text.format(junk=junk) for name, text in HABITS[habit].items()})

    (installed,) = (project / ".venv/lib").glob(
        "python3*/site-packages/_order_execution_engine.pth"
    )
    assert installed.read_text() == "../../../../services\n"
    assert set(junk.rglob("*")) == before
    assert "Traceback" not in output


def test_a_strict_umask_is_fine(project: Path) -> None:
    made(project, {}, umask=0o077)

    assert (project / ".venv/.stamp").exists()


def test_an_environment_whose_python_is_gone_is_made_again(project: Path) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").symlink_to("/nowhere/python")

    made(project, {})

    assert (project / ".venv/bin/python").resolve().exists()


def test_a_machine_without_python_is_told_so_in_one_line(project: Path, tmp_path: Path) -> None:
    only_make = tmp_path / "bin"
    only_make.mkdir()
    for program in ("make", "sh", "getconf", "echo"):
        found = shutil.which(program)
        assert found, program
        (only_make / program).symlink_to(found)

    done = subprocess.run(
        ["make", "run"],
        cwd=project,
        env={"PATH": str(only_make)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )

    (line,) = done.stderr.splitlines()
    assert "Python 3.11 or later is needed" in line
