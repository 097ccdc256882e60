"""Every rendered object matches a schema: that of Kubernetes, or one written here.

The schemas of KEDA, of the Prometheus operator and of Gateway API come with their programs, which
are not available. Of their objects only the fields that the chart writes are checked.
"""

import json
import subprocess
from collections.abc import Mapping
from functools import cache

import jsonschema
import kubernetes_validate
import pytest

from chart.scenarios import RENDERED
from support.helm import CHART, KUBERNETES, Object, needed_helm

VERSION = KUBERNETES.rpartition(".")[0]

STRING = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}
STRINGS = {"type": "array", "items": STRING, "minItems": 1}
LABELS = {"type": "object", "additionalProperties": STRING, "minProperties": 1}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def strict(required: Mapping[str, object], **optional: object) -> dict[str, object]:
    return {
        "type": "object",
        "required": [*required],
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def listed(item: object) -> dict[str, object]:
    return {"type": "array", "items": item, "minItems": 1}


FOREIGN: Mapping[tuple[str, str], dict[str, object]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): strict(
        {
            "scaleTargetRef": strict(
                {
                    "apiVersion": {"const": "apps/v1"},
                    "kind": {"const": "Deployment"},
                    "name": STRING,
                }
            ),
            "minReplicaCount": COUNT,
            "maxReplicaCount": COUNT,
            "pollingInterval": COUNT,
            "triggers": listed(
                strict(
                    {
                        "type": {"const": "prometheus"},
                        # KEDA takes only strings here
                        "metadata": strict(
                            {"serverAddress": STRING, "query": STRING, "threshold": STRING},
                            ignoreNullValues={"enum": ["true", "false"]},
                        ),
                    },
                    metricType={"enum": ["AverageValue", "Value"]},
                )
            ),
        },
        advanced=strict(
            {"horizontalPodAutoscalerConfig": strict({"behavior": {"type": "object"}})}
        ),
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): strict(
        {
            "selector": strict({"matchLabels": LABELS}),
            "podMetricsEndpoints": listed(
                strict({"port": STRING, "path": STRING}, interval=STRING)
            ),
        },
        podTargetLabels=STRINGS,
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): strict(
        {
            "groups": listed(
                strict(
                    {
                        "name": STRING,
                        "rules": listed(
                            strict(
                                {"alert": STRING, "expr": STRING},
                                labels=LABELS,
                                annotations=LABELS,
                                **{"for": STRING, "keep_firing_for": STRING},
                            )
                        ),
                    },
                    interval=STRING,
                )
            )
        }
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): strict(
        {
            "parentRefs": listed(strict({"name": STRING}, namespace=STRING, sectionName=STRING)),
            "rules": listed(
                strict(
                    {
                        "matches": listed(
                            strict(
                                {
                                    "path": strict(
                                        {
                                            "type": {
                                                "enum": ["Exact", "PathPrefix", "RegularExpression"]
                                            },
                                            "value": STRING,
                                        }
                                    )
                                },
                                headers=listed(
                                    strict(
                                        {
                                            "type": {"const": "Exact"},
                                            "name": STRING,
                                            "value": STRING,
                                        }
                                    )
                                ),
                            )
                        ),
                        "backendRefs": listed(strict({"name": STRING, "port": PORT})),
                    }
                )
            ),
        },
        hostnames=STRINGS,
    ),
}


def check(part: Object) -> None:
    """Raises ValidationError when the object does not match its schema."""
    _check(json.dumps(part))


@cache  # scenarios share two thirds of their objects
def _check(text: str) -> None:
    part = json.loads(text)
    spec = FOREIGN.get((part["apiVersion"], part["kind"]))
    if spec is None:
        kubernetes_validate.validate(part, VERSION, strict=True)
    else:
        jsonschema.validate(part["spec"], spec)


@pytest.mark.parametrize("name", RENDERED)
def test_every_object_matches_its_schema(name: str) -> None:
    for part in RENDERED[name].objects():
        check(part)


def test_the_scenarios_render_every_kind() -> None:
    shown = {part["kind"] for scenario in RENDERED.values() for part in scenario.objects()}
    written = {
        line.partition(":")[2].strip()
        for template in (CHART / "templates").glob("*.yaml")
        for line in template.read_text().splitlines()
        if line.startswith("kind:")
    }

    assert shown == written


@pytest.mark.parametrize("kind", sorted({kind for _, kind in FOREIGN}))
def test_an_unknown_field_of_a_custom_resource_is_found(kind: str) -> None:
    part = next(
        part
        for scenario in RENDERED.values()
        for part in scenario.objects()
        if part["kind"] == kind
    )

    with pytest.raises(jsonschema.ValidationError):
        check(part | {"spec": part["spec"] | {"mispelt": 1}})


@pytest.mark.parametrize("preset", ["dev", "production"])
def test_helm_lint_has_no_findings(preset: str) -> None:
    files = [f"--values={CHART}/values-{preset}.yaml"]
    if preset == "production":
        files += ["--set=postgres.secret.name=pg", "--set=redis.secret.name=rd"]
    lint = [str(needed_helm()), "lint", str(CHART), "--strict", "--kube-version", KUBERNETES]

    done = subprocess.run([*lint, *files], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
