"""Images, Compose, chart and Skaffold name the same deployables, statuses and ports as the code."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from execution.domain.status import OrderStatus
from execution.settings import CommonSettings, HttpSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/order-engine"

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
DEPLOYABLES = set(SCRIPTS) - {"order-engine"}  # the command line is no deployable
STATUSES = sorted(OrderStatus)

ADMIN_PORT = str(CommonSettings.model_fields["admin_port"].default)
HTTP_PORT = str(HttpSettings.model_fields["port"].default)


def found(pattern: str, path: str) -> list[Any]:
    """What the groups of `pattern` match in a file of the repository: a text, or a tuple of them."""
    return re.findall(pattern, (ROOT / path).read_text(), flags=re.MULTILINE)


def test_every_deployable_has_a_target_that_runs_it() -> None:
    targets = found(r"^FROM runtime AS (\S+)$", "docker/Dockerfile")
    entry_points = found(r"^ENTRYPOINT (.+)$", "docker/Dockerfile")

    assert set(targets) == DEPLOYABLES
    assert [json.loads(line) for line in entry_points] == [[target] for target in targets]


def test_compose_runs_every_deployable() -> None:
    assert set(found(r"target: ([\w-]+)", "docker/compose.yaml")) == DEPLOYABLES


def test_compose_runs_a_dispatcher_for_every_status() -> None:
    services = found(r"^  status-dispatcher-(\w+):", "docker/compose.yaml")
    commands = found(r"^    command: \[--status, (\w+)\]$", "docker/compose.yaml")

    assert services == commands
    assert sorted(services) == STATUSES


def test_the_chart_runs_a_dispatcher_for_every_status() -> None:
    _, _, statuses = (CHART / "values.yaml").read_text().partition("\n  statuses:\n")
    block, _, _ = statuses.partition("\n\n")
    demanded = found(r"\$expected := list (.+) -\}\}", "charts/order-engine/templates/_helpers.tpl")

    assert sorted(re.findall(r"^    (\w+):", block, flags=re.MULTILINE)) == STATUSES
    assert demanded == [" ".join(f'"{status}"' for status in STATUSES)]


def test_the_chart_and_skaffold_know_the_images() -> None:
    images = {f"order-engine/{name}" for name in DEPLOYABLES}
    built = found(r"- image: order-engine/(\S+)\n +docker: .*target: (\S+)}", "skaffold.yaml")

    assert set(found(r"repository: (\S+)}", "charts/order-engine/values.yaml")) == images
    assert set(built) == {(name, name) for name in DEPLOYABLES}


def test_skaffold_sets_the_image_of_every_group() -> None:
    groups = found(
        r"^(\w+):\n(?:  #.*\n)*  image: {repository: (\S+)}", "charts/order-engine/values.yaml"
    )
    expected = {
        (group, field, f"IMAGE_{part}_{re.sub('[/-]', '_', image)}")
        for group, image in groups
        for field, part in (("repository", "REPO"), ("tag", "TAG"))
    }

    assert len(groups) == len(DEPLOYABLES)
    assert set(found(r'(\w+)\.image\.(\w+): "{{\.(\w+)}}"', "skaffold.yaml")) == expected


def test_the_admin_port_is_the_one_that_is_probed() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: admin, containerPort: (\d+)}", workloads) == [ADMIN_PORT]
    assert found(r"http://127\.0\.0\.1:(\d+)/readyz", "docker/compose.yaml") == [ADMIN_PORT]


def test_the_edge_and_the_services_reach_the_port_that_is_served() -> None:
    workloads = "charts/order-engine/templates/workloads.yaml"

    assert found(r"{name: http, containerPort: (\d+)}", workloads) == [HTTP_PORT]
    assert found(r"set \$\w+ [\w-]*gateway:(\d+);", "docker/nginx.conf") == [HTTP_PORT] * 2
