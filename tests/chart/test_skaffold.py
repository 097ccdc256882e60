"""skaffold.yaml names existing images, values, Services and ports."""

import copy
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from support.helm import CHART, Object, of_kind, rendered

ROOT = CHART.parents[1]
SKAFFOLD = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
TARGETS = set(
    re.findall(r"^FROM runtime AS (\S+)$", (ROOT / "docker/Dockerfile").read_text(), re.M)
)
PROFILES = {None: SKAFFOLD} | {profile["name"]: profile for profile in SKAFFOLD["profiles"]}
IMAGES = [part["image"] for part in SKAFFOLD["build"]["artifacts"]]

# The names under which Skaffold passes its builds to templates.
BUILT = {
    f"IMAGE_{what}_{re.sub('[/-]', '_', image)}": value
    for image in IMAGES
    for what, value in (("REPO", image), ("TAG", "built"))
}

MODULE = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"


def configured(profile: str | None) -> Object:
    """The configuration with the patches of a profile; only `add` and `replace` are known."""
    config = copy.deepcopy(SKAFFOLD)
    for patch in [] if profile is None else PROFILES[profile]["patches"]:
        *way, last = patch["path"].removeprefix("/").split("/")
        place: Any = config
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        assert last in place, f"{patch['path']} is not there"
        place[last] = patch["value"]
    return dict(config)


def release(profile: str | None) -> Object:
    (found,) = configured(profile)["deploy"]["helm"]["releases"]
    return dict(found)


def values_set(profile: str | None) -> dict[str, Any]:
    """The values that `--set` gives to a release, once everything is built."""
    values: dict[str, Any] = {}
    of = release(profile)
    templates = {
        path: BUILT[template.strip("{.}")] for path, template in of["setValueTemplates"].items()
    }
    for path, value in (of["setValues"] | templates).items():
        place = values
        *way, last = path.split(".")
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
    return values


def objects(profile: str | None) -> list[Object]:
    of = release(profile)
    presets = [Path(name).stem.removeprefix("values-") for name in of["valuesFiles"]]
    return rendered(values_set(profile), presets=tuple(presets), release=of["name"])


def test_every_image_is_built_from_the_target_with_its_name() -> None:
    built = {part["image"]: part["docker"]["target"] for part in SKAFFOLD["build"]["artifacts"]}

    assert built == {f"order-engine/{target}": target for target in TARGETS - {"test"}}


def test_skaffold_decides_whether_images_are_pushed() -> None:
    # Skaffold detects whether the cluster is local; `push` would override that
    assert "push" not in SKAFFOLD["build"]["local"]


@pytest.mark.parametrize("profile", PROFILES)
def test_named_files_exist(profile: str | None) -> None:
    of = release(profile)
    dockerfiles = [part["docker"]["dockerfile"] for part in SKAFFOLD["build"]["artifacts"]]

    for name in (of["chartPath"], *of["valuesFiles"], *dockerfiles):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("profile", PROFILES)
def test_every_container_runs_a_built_image(profile: str | None) -> None:
    stores = {"postgres:17", "redis:8"}

    run = {
        container["image"]
        for owner in of_kind(objects(profile), "Deployment", "Job", "StatefulSet")
        for container in [
            *owner["spec"]["template"]["spec"].get("initContainers", []),
            *owner["spec"]["template"]["spec"]["containers"],
        ]
    } - stores

    assert run == {f"{image}:built" for image in IMAGES}


@pytest.mark.parametrize("profile", PROFILES)
def test_forwarded_ports_belong_to_services(profile: str | None) -> None:
    ports = {
        (part["metadata"]["name"], port["port"])
        for part in of_kind(objects(profile), "Service")
        for port in part["spec"]["ports"]
    }

    for forward in SKAFFOLD["portForward"]:
        assert (forward["resourceName"], forward["port"]) in ports


def test_the_debug_profile_logs_at_debug_and_has_no_rate_limit() -> None:
    environments = [
        {variable["name"]: variable.get("value") for variable in container["env"]}
        for owner in of_kind(objects("debug"), "Deployment")
        for container in owner["spec"]["template"]["spec"]["containers"]
    ]

    assert {environment["LOG_LEVEL"] for environment in environments} == {"DEBUG"}
    assert "0" in {environment.get("QUEUE_RATE_LIMIT_PER_MINUTE") for environment in environments}


def test_the_production_profile_installs_no_store() -> None:
    assert not of_kind(objects("production"), "StatefulSet", "Secret")
    assert release(None)["valuesFiles"] == ["charts/order-engine/values-dev.yaml"]


@cache
def schema() -> Object:
    """The schema of Skaffold, from its Go module."""
    if not (go := shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")):
        pytest.skip("no Go to fetch Skaffold's schema with")
    try:
        done = subprocess.run(
            [go, "mod", "download", "-json", MODULE],
            capture_output=True,
            check=True,
            cwd="/",
            timeout=100,
        )
    except subprocess.SubprocessError:
        pytest.skip("Skaffold's schema cannot be downloaded: no module proxy")
    version = SKAFFOLD["apiVersion"].removeprefix("skaffold/")
    schemas = Path(json.loads(done.stdout)["Dir"]) / "docs-v2/content/en/schemas"
    return dict(json.loads((schemas / f"{version}.json").read_text()))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_configuration_matches_the_schema_of_skaffold(profile: str | None) -> None:
    jsonschema.validate(configured(profile), schema())
