"""Images, Compose and chart name the same deployables, statuses and ports as the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.settings import CommonSettings, PublicServerSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/order-engine"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = PROJECT["scripts"]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
DEPLOYABLES = set(SCRIPTS) - {"order-engine"}  # the command line is no deployable
STATUSES = sorted(OrderStatus)

ADMIN_PORT = str(CommonSettings.model_fields["admin_port"].default)
HTTP_PORT = str(PublicServerSettings.model_fields["port"].default)


def found(pattern: str, path: str) -> list[Any]:
    """What the groups of `pattern` match in a file of the repository: a text, or a tuple of them."""
    return re.findall(pattern, (ROOT / path).read_text(), flags=re.MULTILINE)


def test_every_deployable_has_a_target_that_runs_it() -> None:
    stages = (ROOT / "docker/Dockerfile").read_text().split("\nFROM ")
    targets = {
        stage.partition("\n")[0].removeprefix("runtime AS "): stage
        for stage in stages
        if stage.startswith("runtime AS ")
    }

    assert targets.keys() == DEPLOYABLES | {"test"}
    for target in DEPLOYABLES:
        assert f'ENTRYPOINT ["{target}"]' in targets[target]
        assert f'image.title="{target}"' in targets[target]


def test_images_and_chart_are_of_the_version_that_is_built() -> None:
    assert found(r"^ARG VERSION=(.+)$", "docker/Dockerfile") == [PROJECT["version"]]
    assert found(r'^appVersion: "(.+)"$', "charts/order-engine/Chart.yaml") == [PROJECT["version"]]
    assert found(r"-t order-engine/\$name:(\S+)", "charts/order-engine/README.md") == [
        PROJECT["version"]
    ]


def test_whoever_builds_images_tells_them_their_revision() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    told = [
        *(
            service["build"]["args"]
            for service in compose["services"].values()
            if "build" in service
        ),
        *(artifact["docker"]["buildArgs"] for artifact in skaffold["build"]["artifacts"]),
    ]

    assert found(r"^ARG (REVISION)=unknown$", "docker/Dockerfile") == ["REVISION"]
    assert [arguments.keys() for arguments in told] == [{"REVISION"}] * 2 * len(DEPLOYABLES)


def test_the_systems_authorities_are_found_by_every_openssl() -> None:
    base = "\nFROM base AS runtime\n(.+?)\nFROM "
    (stage,) = re.findall(base, (ROOT / "docker/Dockerfile").read_text(), flags=re.DOTALL)

    assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in stage


def test_compose_runs_every_deployable() -> None:
    assert set(found(r"target: ([\w-]+)", "docker/compose.yaml")) == DEPLOYABLES


def test_compose_runs_a_dispatcher_for_every_status() -> None:
    services = found(r"^  status-dispatcher-(\w+):", "docker/compose.yaml")
    commands = found(r"^    command: \[--status, (\w+)\]$", "docker/compose.yaml")

    assert services == commands
    assert sorted(services) == STATUSES


def test_the_chart_runs_a_dispatcher_for_every_status() -> None:
    components = (CHART / "templates/_components.tpl").read_text()
    demanded = re.findall(r"\$expected := list (.+) -\}\}", components)

    assert sorted(VALUES["statusDispatcher"]["statuses"]) == STATUSES
    assert demanded == [" ".join(f'"{status}"' for status in STATUSES)]


def test_the_chart_runs_every_image() -> None:
    images = {group["image"]["repository"] for group in VALUES.values() if is_group(group)}

    assert images == {f"order-engine/{name}" for name in DEPLOYABLES}


def is_group(group: object) -> bool:
    return isinstance(group, dict) and "repository" in group.get("image", {})


def test_the_admin_port_is_the_one_that_is_probed() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: admin, containerPort: (\d+)}", workloads) == [ADMIN_PORT]
    assert found(r"http://127\.0\.0\.1:(\d+)/readyz", "docker/compose.yaml") == [ADMIN_PORT]


def test_the_edge_and_the_services_reach_the_port_that_is_served() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: http, containerPort: (\d+)}", workloads) == [HTTP_PORT]
    assert found(r"set \$\w+ [\w-]*gateway:(\d+);", "docker/nginx.conf") == [HTTP_PORT] * 2
