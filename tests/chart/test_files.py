"""Images, Compose, Skaffold, chart and docs name the deployables, statuses and ports of the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from order_engine.execution.deployables import DEPLOYABLES, WORKLOADS, Deployable
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.settings import CommonSettings, PublicServerSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/order-engine"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = PROJECT["scripts"]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
SKAFFOLD = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
NAMES = {deployable.name for deployable in DEPLOYABLES}
NOT_OURS = {"postgres", "redis", "edge"}  # the other services of Compose
STATUSES = sorted(OrderStatus)

ADMIN_PORT = str(CommonSettings.model_fields["admin_port"].default)
HTTP_PORT = str(PublicServerSettings.model_fields["port"].default)


def found(pattern: str, path: str) -> list[Any]:
    """The groups of each match of `pattern` in a file: a text, or a tuple of several."""
    return re.findall(pattern, (ROOT / path).read_text(), flags=re.MULTILINE)


def test_every_deployable_has_a_command() -> None:
    commands = {name: target for name, target in SCRIPTS.items() if name != "order-engine"}

    assert commands == {each.name: f"{each.module}:main" for each in DEPLOYABLES}


def test_every_deployable_has_a_target_that_runs_it() -> None:
    stages = (ROOT / "docker/Dockerfile").read_text().split("\nFROM ")
    targets = {
        stage.partition("\n")[0].removeprefix("runtime AS "): stage
        for stage in stages
        if stage.startswith("runtime AS ")
    }

    assert targets.keys() == NAMES | {"test"}
    for target in NAMES:
        assert f'ENTRYPOINT ["{target}"]' in targets[target]
        assert f'image.title="{target}"' in targets[target]


def test_images_and_chart_have_the_version_of_the_project() -> None:
    assert found(r"^ARG VERSION=(.+)$", "docker/Dockerfile") == [PROJECT["version"]]
    assert found(r'^appVersion: "(.+)"$', "charts/order-engine/Chart.yaml") == [PROJECT["version"]]
    assert found(r"-t order-engine/\$name:(\S+)", "charts/order-engine/README.md") == [
        PROJECT["version"]
    ]


def test_only_the_targets_that_serve_clients_expose_the_public_port() -> None:
    stages = found(r"^FROM runtime AS ([\w-]+)\n(?:.+\n)*?EXPOSE 3000$", "docker/Dockerfile")

    assert set(stages) == {each.name for each in DEPLOYABLES if each.serves_clients}


def test_every_build_of_an_image_passes_the_revision() -> None:
    passed = [
        *(
            service["build"]["args"]
            for service in COMPOSE["services"].values()
            if "build" in service
        ),
        *(artifact["docker"]["buildArgs"] for artifact in SKAFFOLD["build"]["artifacts"]),
    ]

    assert found(r"^ARG (REVISION)=unknown$", "docker/Dockerfile") == ["REVISION"]
    assert [arguments.keys() for arguments in passed] == [{"REVISION"}] * 2 * len(NAMES)


def test_every_openssl_finds_the_certificates_of_the_system() -> None:
    base = "\nFROM base AS runtime\n(.+?)\nFROM "
    (stage,) = re.findall(base, (ROOT / "docker/Dockerfile").read_text(), flags=re.DOTALL)

    assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in stage


def test_compose_builds_every_deployable() -> None:
    assert set(found(r"target: ([\w-]+)", "docker/compose.yaml")) == NAMES


def test_compose_runs_every_workload() -> None:
    runs_once = {each.name for each in DEPLOYABLES if each.runs_once}

    assert COMPOSE["services"].keys() - NOT_OURS == {*WORKLOADS, *runs_once}


@pytest.mark.parametrize("deployable", DEPLOYABLES, ids=lambda each: each.name)
def test_compose_gives_a_deployable_its_stores_alone(deployable: Deployable) -> None:
    for workload in deployable.workloads:
        service = COMPOSE["services"][workload]
        urls = {name for name in service["environment"] if name.endswith("_URL")}

        assert urls == deployable.urls - {"REDIS_QUEUE_URL", "REDIS_PUBSUB_URL"}
        assert service["image"] == f"order-engine/{deployable.name}:dev"


def test_skaffold_builds_and_deploys_every_deployable() -> None:
    artifacts = {
        artifact["image"]: artifact["docker"]["target"]
        for artifact in SKAFFOLD["build"]["artifacts"]
    }
    (release,) = SKAFFOLD["deploy"]["helm"]["releases"]

    assert artifacts == {f"order-engine/{name}": name for name in NAMES}
    assert release["setValueTemplates"] == {
        f"{each.values}.image.{key}": (
            f"{{{{.IMAGE_{kind}_order_engine_{each.name.replace('-', '_')}}}}}"
        )
        for each in DEPLOYABLES
        for key, kind in (("repository", "REPO"), ("tag", "TAG"))
    }


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


def test_the_chart_has_a_group_of_values_for_every_deployable() -> None:
    images = {
        name: group["image"]["repository"] for name, group in VALUES.items() if is_group(group)
    }

    assert images == {each.values: f"order-engine/{each.name}" for each in DEPLOYABLES}


def test_the_chart_gives_a_deployable_its_stores_alone() -> None:
    components = (CHART / "templates/_components.tpl").read_text()
    given = re.findall(
        r'(?:^  |\(printf )"([\w-]+)(?:-%s" \$status\)|") \(dict\n(?:    .+\n)*?    "urls" \(list (.+)\)',
        components,
        flags=re.MULTILINE,
    )

    assert {name: set(re.findall(r"\w+", urls)) for name, urls in given} == {
        each.name: each.urls for each in DEPLOYABLES
    }


def test_the_documents_name_every_deployable() -> None:
    (images,) = found(r"^for name in (.+); do$", "charts/order-engine/README.md")
    public = found(r"^\| .*\(`([\w-]+)`\) \|", "SECURITY.md")

    assert set(images.split()) == NAMES
    assert set(public) == {each.name for each in DEPLOYABLES if each.serves_clients}
    assert found(r"^\| `([\w-]+)` .*\|.*\|.*\|.*\|$", "docs/architecture.md") == [
        each.name for each in DEPLOYABLES
    ]


@pytest.mark.parametrize(("store", "url"), [("PostgreSQL", "DATABASE_URL"), ("Redis", "REDIS_URL")])
def test_the_security_page_names_the_deployables_that_open_a_store(store: str, url: str) -> None:
    (names,) = found(rf"^\| {store} \| (.+?) \|", "SECURITY.md")

    assert names.split(", ") == [each.name for each in DEPLOYABLES if url in each.urls]


def is_group(group: object) -> bool:
    return isinstance(group, dict) and "repository" in group.get("image", {})


def test_probes_use_the_admin_port() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: admin, containerPort: (\d+)}", workloads) == [ADMIN_PORT]
    assert found(r"http://127\.0\.0\.1:(\d+)/readyz", "docker/compose.yaml") == [ADMIN_PORT]


def test_the_edge_and_the_services_use_the_public_port() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: http, containerPort: (\d+)}", workloads) == [HTTP_PORT]
    assert found(r"set \$\w+ [\w-]*gateway:(\d+);", "docker/nginx.conf") == [HTTP_PORT] * 2
