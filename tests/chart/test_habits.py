"""What people write in values: null for the default, slashes, numbers and booleans in maps of strings."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from chart.scenarios import RENDERED, SECRETS
from support.helm import CHART, Object, Refused, Values, named, of_kind, rendered

DIGEST = f"sha256:{64 * 'a'}"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# in these maps null removes an entry, as everywhere in Helm
OF_KUBERNETES = {"requests", "limits", "podSecurityContext"}
EDGES: Mapping[str, Any] = {
    **SECRETS,
    "ingress": {"enabled": True, "hosts": ["orders.example"]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]},
    "monitoring": {"podMonitors": True, "rules": True, "dashboards": True},
    "priorityClasses": {"create": True},
}


def leaves_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same keys, each with null in place of its value."""
    return {
        key: leaves_of(value)
        if isinstance(value, dict) and value and key not in OF_KUBERNETES
        else None
        for key, value in values.items()
    }


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = (
            merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return result


def at(path: str, value: object) -> dict[str, Any]:
    """`value` at a path such as `gateway.image`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def without(values: Values, path: str) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    others = {name: value for name, value in values.items() if name != key}
    return others | {key: without(values[key], rest)} if rest and key in values else others


# null


NULLS = [
    *(key for key in VALUES if key not in ("postgres", "redis")),
    *(f"defaults.{key}" for key in VALUES["defaults"]),
    *(f"gateway.{key}" for key in VALUES["defaults"]),
    *(f"statusDispatcher.statuses.failed.{key}" for key in VALUES["defaults"]),
    *("global", "statusDispatcher.statuses", "statusDispatcher.statuses.failed"),
    *("ingress.annotations", "ingress.tls", "ingress.className", "ingress.controller"),
    *("httpRoute.annotations", "httpRoute.hostnames", "httpRoute.streams", "httpRoute.enabled"),
    *("gateway.service", "gateway.service.annotations", "gateway.service.port"),
    *("postgres.tls", "postgres.url", "redis.secret.urlKey", "redis.ports"),
    *("networkPolicy.dns", "networkPolicy.clients", "monitoring.labels", "monitoring.runbookUrl"),
    *("orderWorker.config.QUEUE_MAX_CONCURRENCY", "orderWorker.config.VENUE_SEED"),
    *("defaults.config.LOG_LEVEL", "gateway.autoscaling.keda.perReplica", "global.mine"),
    *("defaults.autoscaling.hpa.metrics", "development.postgres", "development.redis.resources"),
]


@pytest.mark.parametrize("path", NULLS)
def test_null_is_the_default(path: str) -> None:
    assert rendered(merged(EDGES, at(path, None))) == rendered(without(EDGES, path))


def test_every_value_may_be_null_at_the_same_time() -> None:
    nulls = merged(leaves_of(VALUES), SECRETS)

    assert rendered(nulls) == rendered(SECRETS)


def test_null_in_a_layer_is_the_value_of_the_layer_before() -> None:
    before = {"nodeSelector": {"disk": "fast"}, "replicas": 3, "podLabels": {"team": "a"}}
    nulls = dict.fromkeys(before)

    both = {"defaults": before, "gateway": nulls, "statusDispatcher": nulls}

    assert rendered(SECRETS | both) == rendered(SECRETS | {"defaults": before})


@pytest.mark.parametrize("path", ["ingress.hosts", "httpRoute.parentRefs"])
def test_null_for_what_an_edge_needs_is_an_empty_list(path: str) -> None:
    with pytest.raises(Refused, match=f"{path} is empty"):
        rendered(merged(EDGES, at(path, None)))


def test_every_template_gives_null_its_default() -> None:
    templates = [path for path in (CHART / "templates").iterdir() if path.name[0] != "_"]
    first = '{{- include "order-engine.with-defaults" . }}\n'

    assert [path.name for path in templates if not path.read_text().startswith(first)] == []


# Images


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"registry": "r.example/"}, "r.example/order-engine/gateway:0.1.0"),
        ({"registry": "r.example"}, "r.example/order-engine/gateway:0.1.0"),
        ({"registry": "r.example:5000/a//"}, "r.example:5000/a/order-engine/gateway:0.1.0"),
        ({"registry": "/"}, "order-engine/gateway:0.1.0"),
        ({"registry": " r.example/ "}, "r.example/order-engine/gateway:0.1.0"),
        ({"registry": None, "tag": None}, "order-engine/gateway:0.1.0"),
        ({"repository": "/mine/gateway"}, "mine/gateway:0.1.0"),
        ({"repository": "mine/gateway/"}, "mine/gateway:0.1.0"),
        ({"registry": "r.example/", "repository": "/mine"}, "r.example/mine:0.1.0"),
        ({"repository": "localhost:5000/mine"}, "localhost:5000/mine:0.1.0"),
        ({"tag": ""}, "order-engine/gateway:0.1.0"),
        ({"tag": ":1.2"}, "order-engine/gateway:1.2"),
        ({"tag": 20260131}, "order-engine/gateway:20260131"),
        ({"tag": f"1.2@{DIGEST}"}, f"order-engine/gateway:1.2@{DIGEST}"),
        ({"digest": DIGEST}, f"order-engine/gateway@{DIGEST}"),
        ({"digest": f"@{DIGEST}", "tag": "1.2"}, f"order-engine/gateway@{DIGEST}"),
        ({"digest": "", "tag": "1.2"}, "order-engine/gateway:1.2"),
    ],
)
def test_an_image_has_one_slash_between_its_parts(image: Values, name: str) -> None:
    assert main_container({"gateway": {"image": image}})["image"] == name


# Maps of strings, and lists


def pod(values: Values) -> Object:
    gateway = named(rendered(SECRETS | dict(values)), "Deployment", "gateway")
    return dict(gateway["spec"]["template"])


def main_container(values: Values) -> Object:
    (main,) = pod(values)["spec"]["containers"]
    return dict(main)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (9100, "9100"), (1_000_000, "1000000"), (0.5, "0.5")],
)
def test_numbers_and_booleans_become_strings(value: object, text: str) -> None:
    values = {key: {"a": value} for key in ("podAnnotations", "podLabels", "nodeSelector")}

    found = pod({"defaults": values})

    assert found["metadata"]["annotations"]["a"] == text
    assert found["metadata"]["labels"]["a"] == text
    assert found["spec"]["nodeSelector"] == {"a": text}


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (5, "5"), ("x", "x")])
def test_a_variable_becomes_a_string(value: object, text: str) -> None:
    values = {"gateway": {"extraEnv": [{"name": "A", "value": value}]}}

    assert {"name": "A", "value": text} in main_container(values)["env"]


@pytest.mark.parametrize("annotations", ["ingress", "httpRoute", "gateway.service"])
def test_annotations_of_edges_become_strings(annotations: str) -> None:
    objects = rendered(merged(EDGES, at(f"{annotations}.annotations", {"a": True, "b": 3600})))
    found = [
        part["metadata"].get("annotations", {})
        for part in of_kind(objects, "Ingress", "HTTPRoute", "Service")
    ]

    assert [of for of in found if of.items() >= {"a": "true", "b": "3600"}.items()]


@pytest.mark.parametrize("secret", ["mine", {"name": "mine"}])
def test_a_pull_secret_is_a_name_or_an_object(secret: object) -> None:
    found = rendered({"defaults": {"imagePullSecrets": [secret]}}, presets=("dev",))

    for part in of_kind(found, "Deployment", "StatefulSet", "Job"):
        assert part["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "mine"}]


# The account of pods


@pytest.mark.parametrize("nothing", [None, ""])
def test_the_user_may_be_left_to_the_cluster(nothing: str | None) -> None:
    context = pod({"defaults": {"podSecurityContext": {"runAsUser": nothing}}})["spec"]

    assert context["securityContext"] == {
        "runAsNonRoot": True,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"runAsUser": 1_000_680_000}, {"runAsUser": 1_000_680_000, "runAsGroup": 10001}),
        ({"runAsUser": 5, "runAsGroup": 0}, {"runAsUser": 5, "runAsGroup": 0}),
        ({"fsGroup": 7}, {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 7}),
        ({"runAsUser": None, "runAsGroup": None}, {}),
    ],
)
@pytest.mark.parametrize("group", ["defaults", "gateway"])
def test_pods_run_as_the_account_of_the_values(
    group: str, own: Values, expected: Mapping[str, int]
) -> None:
    found = pod({group: {"podSecurityContext": own}})["spec"]["securityContext"]

    fixed = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert found == {**fixed, **expected}


@pytest.mark.parametrize("name", ["openshift", "openshift-dev"])
def test_on_openshift_no_pod_chooses_its_user(name: str) -> None:
    for part in of_kind(RENDERED[name].objects(), "Deployment", "StatefulSet", "Job"):
        context = part["spec"]["template"]["spec"]["securityContext"]

        assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}
