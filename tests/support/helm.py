"""Helm, and the objects that it renders from the chart."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts/order-engine"
MODULE = "helm.sh/helm/v3/cmd/helm@v3.18.4"
KUBERNETES = "1.34.0"
RELEASE, NAMESPACE = "engine", "trading"

RESULTS = Path(__file__).parents[2] / ".pytest_cache/helm"
KEEP_RESULTS_S = 24 * 60 * 60

BUILD_TIMEOUT_S = 900
RENDER_TIMEOUT_S = 60

Object = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """Helm did not render, with its reason."""


@cache
def helm() -> Path | None:
    """The program; built once, into the virtual environment, when missing. None without Go."""
    if found := shutil.which("helm"):
        return Path(found)
    kept = Path(sys.prefix) / "bin/helm"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of tests that start together build it once
        return kept if kept.exists() or _build(kept) else None


def _build(kept: Path) -> bool:
    if not (go := shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")):
        return False
    with tempfile.TemporaryDirectory() as directory:
        command = ["env", f"GOBIN={directory}", go, "install", MODULE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=BUILD_TIMEOUT_S)
            shutil.copy(Path(directory) / "helm", kept.with_suffix(".new"))
        except (OSError, subprocess.SubprocessError):
            return False
    kept.with_suffix(".new").rename(kept)  # complete, or not there
    return True


def needed_helm() -> Path:
    if program := helm():
        return program
    pytest.skip("no helm in PATH, and no Go (or no module proxy) to build one: nothing is rendered")


def rendered(
    values: Values,
    *,
    presets: tuple[str, ...] = (),
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
) -> list[Object]:
    """The objects of a release. Raises Refused."""
    files = [f"--values={chart}/values-{preset}.yaml" for preset in presets]
    command = (
        *("template", release, str(chart), "--namespace", namespace, "--kube-version", KUBERNETES),
        *(*files, "--values=-"),
    )
    result = _result(command, json.dumps(values), chart)
    if "refusal" in result:
        raise Refused(result["refusal"])
    return list(result["objects"])


@cache
def _result(command: tuple[str, ...], values: str, chart: Path) -> Mapping[str, Any]:
    """The result of a render, kept on disk for the other processes of a run and for later runs."""
    question = json.dumps([command, values]).replace(str(chart), "")
    name = hashlib.sha256(question.encode()).hexdigest()[:32]
    kept = _results_of(chart) / f"{name}.json"
    if kept.exists():
        result: Mapping[str, Any] = json.loads(kept.read_bytes())
        return result
    done = subprocess.run(
        [needed_helm(), *command],
        input=values,
        capture_output=True,
        text=True,
        timeout=RENDER_TIMEOUT_S,
    )
    if done.returncode:
        result = {"refusal": done.stderr}
    else:
        objects = yaml.load_all(done.stdout, yaml.CSafeLoader)
        result = {"objects": [part for part in objects if part is not None]}
    unfinished = kept.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(result))
    unfinished.rename(kept)
    return result


@cache
def _results_of(chart: Path) -> Path:
    """The directory for this content of the chart and this Helm. Deletes directories a day old."""
    program = needed_helm().stat()
    content = hashlib.sha256(f"{program.st_size} {program.st_mtime_ns}".encode())
    for file in sorted(path for path in chart.rglob("*") if path.is_file()):
        content.update(f"{file.relative_to(chart)}\n{file.stat().st_size}\n".encode())
        content.update(file.read_bytes())
    for old in RESULTS.glob("*"):
        if old.stat().st_mtime < time.time() - KEEP_RESULTS_S:
            shutil.rmtree(old, ignore_errors=True)
    directory = RESULTS / content.hexdigest()[:32]
    directory.mkdir(parents=True, exist_ok=True)
    os.utime(directory)
    return directory


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The only object of this kind whose name ends with `name`."""
    (found,) = (
        part
        for part in objects
        if part["kind"] == kind and part["metadata"]["name"] == f"{RELEASE}-order-engine-{name}"
    )
    return found


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [part for part in objects if part["kind"] in kinds]
