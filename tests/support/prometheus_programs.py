"""prometheus and promtool, from the system or from the package of Debian."""

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

TIMEOUT_S = 120


@cache
def program(name: str) -> Path | None:
    """Where `prometheus` or `promtool` is; taken out of the package `prometheus`, which stays
    uninstalled, when missing. None where neither the program nor the package is to be had.
    """
    kept = Path(sys.prefix) / "bin" / name
    if found := shutil.which(name):
        return Path(found)
    if kept.exists():
        return kept
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    with tempfile.TemporaryDirectory() as directory:
        try:
            _run("apt-get", "update", within=directory, check=False)  # only root may
            _run("apt-get", "download", "prometheus", within=directory)
            (package,) = Path(directory).glob("prometheus_*.deb")
            _run("dpkg-deb", "--extract", str(package), "unpacked", within=directory)
            unpacked = Path(directory) / "unpacked/usr/bin" / name
            shutil.copy(unpacked, kept.with_suffix(".new"))
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
    return kept.with_suffix(".new").rename(kept)  # complete, or not there


def _run(*command: str, within: str, check: bool = True) -> None:
    subprocess.run(command, cwd=within, check=check, capture_output=True, timeout=TIMEOUT_S)
