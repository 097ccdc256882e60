"""Each rule, on every scenario and on broken objects that it must find."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chart import object_rules, pod_rules
from chart.scenarios import RENDERED, Scenario
from support.helm import NAMESPACE, Object, named

Rule = Callable[[Scenario, list[Object]], Iterator[str]]

RULES: list[Rule] = [*pod_rules.RULES, *object_rules.RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", RENDERED)
def test_every_scenario_follows(rule: Rule, name: str) -> None:
    scenario = RENDERED[name]

    assert list(rule(scenario, scenario.objects())) == []


# Broken objects


def of_gateway(objects: list[Object]) -> Any:
    return named(objects, "Deployment", "gateway")["spec"]["template"]["spec"]


def main_of_gateway(objects: list[Object]) -> Any:
    return of_gateway(objects)["containers"][0]


def without(objects: list[Object], kind: str, name: str) -> None:
    objects.remove(named(objects, kind, name))


BROKEN: dict[Rule, Callable[[list[Object]], object]] = {
    object_rules.all_nine_and_the_migration_are_there: lambda objects: without(
        objects, "Deployment", "status-dispatcher-failed"
    ),
    pod_rules.pods_are_restricted: lambda objects: of_gateway(objects).update(hostNetwork=True),
    pod_rules.roots_are_read_only: lambda objects: main_of_gateway(objects)[
        "securityContext"
    ].update(readOnlyRootFilesystem=False),
    pod_rules.no_pod_has_a_token: lambda objects: of_gateway(objects).update(
        automountServiceAccountToken=True
    ),
    pod_rules.resources_are_set: lambda objects: main_of_gateway(objects)["resources"][
        "requests"
    ].pop("cpu"),
    pod_rules.images_have_a_tag: lambda objects: of_gateway(objects)["containers"][0].update(
        image="a/b"
    ),
    pod_rules.probes_of_all_three_kinds: lambda objects: main_of_gateway(objects)[
        "livenessProbe"
    ].update(httpGet={"port": "none"}),
    object_rules.replicas_are_absent_where_an_autoscaler_owns_them: lambda objects: objects.append(
        {
            "kind": "ScaledObject",
            "spec": {"scaleTargetRef": {"name": "engine-order-engine-gateway"}},
        }
    ),
    object_rules.a_worker_of_each_queue_is_always_left: lambda objects: named(
        objects, "Deployment", "order-worker"
    )["spec"].update(replicas=0),
    object_rules.budgets_block_no_drain: lambda objects: named(
        objects, "PodDisruptionBudget", "gateway"
    )["spec"].update(maxUnavailable=0),
    object_rules.selectors_select_their_own_pods: lambda objects: named(
        objects, "Service", "gateway"
    )["spec"]["selector"].pop("app.kubernetes.io/component"),
    object_rules.services_lead_to_a_port: lambda objects: named(objects, "Service", "gateway")[
        "spec"
    ]["ports"][0].update(targetPort="htpp"),
    object_rules.edges_lead_to_services: lambda objects: objects.append(
        {"kind": "HTTPRoute", "spec": {"rules": [{"backendRefs": [{"name": "missing"}]}]}}
    ),
    pod_rules.variables_are_settings_of_the_deployable: lambda objects: main_of_gateway(objects)[
        "env"
    ].append({"name": "WS_PING_S", "value": "1"}),
    pod_rules.nobody_knows_more_urls_than_it_opens: lambda objects: main_of_gateway(objects)[
        "env"
    ].append({"name": "REDIS_PUBSUB_URL", "value": "redis://r"}),
    pod_rules.required_settings_are_given: lambda objects: main_of_gateway(objects)["env"].pop(0),
    pod_rules.plain_variables_pass_the_settings: lambda objects: main_of_gateway(objects)[
        "env"
    ].append({"name": "BODY_BYTES_MAX", "value": "1"}),
    pod_rules.secrets_are_there_or_named_by_the_values: lambda objects: without(
        objects, "Secret", "postgres"
    ),
    pod_rules.graces_hold_the_drain: lambda objects: of_gateway(objects).update(
        terminationGracePeriodSeconds=35
    ),
    pod_rules.who_opens_postgres_waits_for_its_schema: lambda objects: of_gateway(objects).pop(
        "initContainers"
    ),
    object_rules.pods_are_behind_network_policies: lambda objects: without(
        objects, "NetworkPolicy", "default-deny"
    ),
    object_rules.labels_are_consistent: lambda objects: named(objects, "Service", "gateway")[
        "metadata"
    ]["labels"].update({"app.kubernetes.io/instance": "other"}),
    object_rules.names_fit: lambda objects: objects.append(named(objects, "Service", "gateway")),
    object_rules.nothing_is_of_the_cluster_unless_asked: lambda objects: objects.append(
        {"kind": "PriorityClass", "metadata": {"name": f"{NAMESPACE}-x"}}
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_broken_objects(rule: Rule) -> None:
    scenario = RENDERED["dev"]
    objects = copy.deepcopy(scenario.objects())

    BROKEN[rule](objects)

    assert list(rule(scenario, objects))
