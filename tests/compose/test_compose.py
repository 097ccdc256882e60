"""Builds, starts, uses and stops the fleet of docker/compose.yaml."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from order_engine.execution.deployables import WORKLOADS
from support.ports import free_port

ROOT = Path(__file__).parents[2]
BUILD_TIMEOUT_S = 900
UP_TIMEOUT_S = 300
COMMAND_TIMEOUT_S = 120
DEPLOYABLES = set(WORKLOADS)

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT_S + UP_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A Compose project with its own name and port."""

    name: str
    port: int

    def compose(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        command = ("docker", "compose", "-p", self.name, "-f", "docker/compose.yaml", *arguments)
        return output(*command, timeout_s=timeout_s, environment={"PORT": str(self.port)})

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The running containers as Compose lists them, by service."""
        lines = self.compose("ps", "--format", "json").splitlines()
        return {container["Service"]: container for container in map(json.loads, lines)}


def output(*command: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},  # noqa: TID251 - passed on to a command
        capture_output=True,
        check=False,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-4000:]}{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    project = Project(name=f"order-engine-{uuid.uuid4().hex[:8]}", port=free_port())
    try:
        project.compose("up", "--build", "--wait", "--quiet-pull", timeout_s=BUILD_TIMEOUT_S)
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "30")


def test_every_deployable_becomes_ready(project: Project) -> None:
    health = {service: running["Health"] for service, running in project.services().items()}

    assert health == dict.fromkeys(DEPLOYABLES | {"edge", "postgres", "redis"}, "healthy")


def test_the_demo_works_through_the_edge(project: Project) -> None:
    url = f"http://127.0.0.1:{project.port}"
    output(
        sys.executable, "-m", "order_engine.cli", "demo", "--url", url, timeout_s=COMMAND_TIMEOUT_S
    )


def test_only_the_edge_publishes_a_port(project: Project) -> None:
    published = {
        (service, each["URL"], each["PublishedPort"])
        for service, running in project.services().items()
        for each in running["Publishers"] or []
        if each["PublishedPort"]
    }

    assert published == {("edge", "127.0.0.1", project.port)}


def test_every_deployable_stops_cleanly(project: Project) -> None:
    project.compose("stop", *DEPLOYABLES)
    lines = project.compose("ps", "--all", "--format", "json").splitlines()
    exits = {each["Service"]: each["ExitCode"] for each in map(json.loads, lines)}

    assert {exits[name] for name in DEPLOYABLES} == {0}


def test_the_unit_tests_pass_in_the_image() -> None:
    built = ("docker", "build", "--quiet", "--network", "host", "--file", "docker/Dockerfile")
    image = output(*built, "--target", "test", ".", timeout_s=BUILD_TIMEOUT_S).strip()
    run = ("docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp")  # noqa: S108
    output(*run, image, timeout_s=UP_TIMEOUT_S)
