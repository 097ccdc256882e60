"""Builds the images and loads them into the nodes of a cluster without a registry."""

import json
import os
import shlex
import shutil
from pathlib import Path

from order_engine.execution.deployables import DEPLOYABLES
from support.cluster import kubectl, output

ROOT = Path(__file__).parents[2]
LOADER = ROOT.parent / "shared/bin/cluster"
DATASTORES = ("postgres:17", "redis:8")

BUILD_TIMEOUT_S = 900
LOAD_TIMEOUT_S = 300


def load_images() -> dict[str, str]:
    """Builds and loads the images; returns their tags.

    A tag depends on the content of its image, so that no node runs an older image.
    """
    tags = {each.name: _build(each.name) for each in DEPLOYABLES}
    for image in (*DATASTORES, *(f"order-engine/{name}:{tag}" for name, tag in tags.items())):
        if not _is_on_every_node(image):
            output(*_load_command(), image, timeout_s=LOAD_TIMEOUT_S)
    return tags


def _build(name: str) -> str:
    built = ("docker", "build", "--quiet", "--network", "host", "--file", "docker/Dockerfile")
    image = output(
        *("env", "-C", str(ROOT), *built, "--target", name, "."), timeout_s=BUILD_TIMEOUT_S
    ).strip()
    tag = f"test-{image.removeprefix('sha256:')[:12]}"
    output("docker", "tag", image, f"order-engine/{name}:{tag}", timeout_s=LOAD_TIMEOUT_S)
    return tag


def _load_command() -> list[str]:
    """The command that loads the image in its last argument: CLUSTER_LOAD, or one found here."""
    if command := os.environ.get("CLUSTER_LOAD"):  # noqa: TID251 - a test setting
        return shlex.split(command)
    if LOADER.exists():
        return [str(LOADER), "load-image"]
    if kind := shutil.which("kind"):
        return [kind, "load", "docker-image"]
    raise AssertionError("set CLUSTER_LOAD to a command that loads an image into the cluster")


def _is_on_every_node(image: str) -> bool:
    full = f"docker.io/{image if '/' in image else f'library/{image}'}"
    return all(
        any(full in listed.get("names", ()) for listed in node["status"].get("images", ()))
        for node in json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    )
