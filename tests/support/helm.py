"""Helm, and what it makes of the chart."""

import json
import shutil
import subprocess
import sys
import tempfile
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

BUILD_TIMEOUT_S = 900
RENDER_TIMEOUT_S = 60

Object = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """Helm did not render; says why."""


@cache
def helm() -> Path | None:
    """Where it is; built once, into the virtual environment, when missing. None without Go."""
    kept = Path(sys.prefix) / "bin/helm"
    if found := shutil.which("helm"):
        return Path(found)
    if kept.exists():
        return kept
    if not (go := shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")):
        return None
    with tempfile.TemporaryDirectory() as directory:
        command = ["env", f"GOBIN={directory}", go, "install", MODULE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=BUILD_TIMEOUT_S)
            shutil.copy(Path(directory) / "helm", kept.with_suffix(".new"))
        except (OSError, subprocess.SubprocessError):
            return None
    return kept.with_suffix(".new").rename(kept)  # whole, or not there


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
    return _rendered(json.dumps(values), presets, release, namespace, chart)


@cache
def _rendered(
    values: str, presets: tuple[str, ...], release: str, namespace: str, chart: Path
) -> list[Object]:
    files = [f"--values={chart}/values-{preset}.yaml" for preset in presets]
    done = subprocess.run(
        [
            *(needed_helm(), "template", release, chart),
            *("--namespace", namespace, "--kube-version", KUBERNETES),
            *(*files, "--values=-"),
        ],
        input=values,
        capture_output=True,
        text=True,
        timeout=RENDER_TIMEOUT_S,
    )
    if done.returncode:
        raise Refused(done.stderr)
    return [part for part in yaml.safe_load_all(done.stdout) if part is not None]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind whose name ends so."""
    (found,) = (
        part
        for part in objects
        if part["kind"] == kind and part["metadata"]["name"] == f"{RELEASE}-order-engine-{name}"
    )
    return found


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [part for part in objects if part["kind"] in kinds]
