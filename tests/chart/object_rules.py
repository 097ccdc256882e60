"""Rules between the objects of any release: each yields its violations."""

from collections.abc import Iterator

from chart.deployables import (
    DISPATCHERS,
    WORKLOADS,
    component,
    containers,
    pod_labels,
    pod_owners,
    selects,
)
from chart.scenarios import Scenario
from support.helm import NAMESPACE, Object, of_kind

CLUSTER_WIDE = {"PriorityClass"}


def all_nine_and_the_migration_are_there(_: Scenario, objects: list[Object]) -> Iterator[str]:
    if {component(part) for part in of_kind(objects, "Deployment")} != WORKLOADS:
        yield "other workloads than the nine"
    if len(of_kind(objects, "Job")) != 1:
        yield "not one migration"


def replicas_are_absent_where_an_autoscaler_owns_them(
    _: Scenario, objects: list[Object]
) -> Iterator[str]:
    owned = {
        part["spec"]["scaleTargetRef"]["name"]
        for part in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    }
    deployments = {part["metadata"]["name"]: part for part in of_kind(objects, "Deployment")}
    if not owned <= deployments.keys():
        yield "an autoscaler of nothing"
    yield from (name for name in owned if "replicas" in deployments[name]["spec"])


def a_worker_of_each_queue_is_always_left(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for part in objects:
        if component(part) in {"order-worker", *DISPATCHERS}:
            spec = part.get("spec", {})
            for key in ("replicas", "minReplicas", "minReplicaCount"):
                if spec.get(key, 1) < 1:
                    yield f"{part['kind']} of {component(part)} allows {key} {spec[key]}"


def budgets_block_no_drain(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for part in of_kind(objects, "PodDisruptionBudget"):
        if "minAvailable" in part["spec"] or part["spec"]["maxUnavailable"] in (0, "0%"):
            yield part["metadata"]["name"]


def selectors_select_their_own_pods(_: Scenario, objects: list[Object]) -> Iterator[str]:
    owners = {component(owner): pod_labels(owner) for owner in pod_owners(objects)}
    for part in of_kind(
        objects, "Service", "PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor"
    ):
        selector = part["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        chosen = {name for name, labels in owners.items() if selects(selector, labels)}
        if chosen != {component(part)}:
            yield f"{part['kind']} {part['metadata']['name']} selects {chosen}"


def services_lead_to_a_port(_: Scenario, objects: list[Object]) -> Iterator[str]:
    owners = {component(owner): owner for owner in pod_owners(objects)}
    for part in of_kind(objects, "Service"):
        ports = {
            port["name"]
            for container in containers(owners[component(part)])
            for port in container.get("ports", [])
        }
        for port in part["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"{part['metadata']['name']}: {port['targetPort']}"


def edges_lead_to_services(_: Scenario, objects: list[Object]) -> Iterator[str]:
    services = {part["metadata"]["name"] for part in of_kind(objects, "Service")}
    for part in of_kind(objects, "Ingress"):
        for rule in part["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                if path["backend"]["service"]["name"] not in services:
                    yield path["path"]
    for part in of_kind(objects, "HTTPRoute"):
        for rule in part["spec"]["rules"]:
            yield from (end["name"] for end in rule["backendRefs"] if end["name"] not in services)


def pods_are_behind_network_policies(scenario: Scenario, objects: list[Object]) -> Iterator[str]:
    """Every pod is denied everything by default; one more policy allows what it needs."""
    policies = of_kind(objects, "NetworkPolicy")
    if scenario.values.get("networkPolicy", {}).get("enabled") is False:
        yield from (part["metadata"]["name"] for part in policies)
        return
    for owner in pod_owners(objects):
        chosen = [
            part
            for part in policies
            if selects(part["spec"]["podSelector"]["matchLabels"], pod_labels(owner))
        ]
        opened = [part for part in chosen if part["spec"].keys() & {"ingress", "egress"}]
        if any(part["spec"]["policyTypes"] != ["Ingress", "Egress"] for part in chosen):
            yield f"{component(owner)} is open in one direction"
        if len(chosen) != 2 or len(opened) != 1:
            yield f"{component(owner)} has {len(chosen)} policies"


def labels_are_consistent(scenario: Scenario, objects: list[Object]) -> Iterator[str]:
    for part in objects:
        labels = part["metadata"]["labels"]
        if (
            labels["app.kubernetes.io/name"] != "order-engine"
            or labels["app.kubernetes.io/instance"] != scenario.release
            or labels["app.kubernetes.io/managed-by"] != "Helm"
            or not labels["helm.sh/chart"].startswith("order-engine-")
        ):
            yield f"{part['kind']} {part['metadata']['name']}"
        if not all(isinstance(value, str) and len(value) <= 63 for value in labels.values()):
            yield f"{part['kind']} {part['metadata']['name']} has a label that is none"
    for owner in of_kind(objects, "Deployment", "StatefulSet"):
        if not selects(owner["spec"]["selector"]["matchLabels"], pod_labels(owner)):
            yield f"{component(owner)} does not select its own pods"


def names_fit(_: Scenario, objects: list[Object]) -> Iterator[str]:
    names = [(part["kind"], part["metadata"]["name"]) for part in objects]
    yield from (
        f"{kind} {name} twice" for kind, name in set(names) if names.count((kind, name)) > 1
    )
    for kind, name in names:
        if len(name) > (253 if kind in CLUSTER_WIDE else 63):
            yield f"{kind} {name} is too long"


def nothing_is_of_the_cluster_unless_asked(
    scenario: Scenario, objects: list[Object]
) -> Iterator[str]:
    for part in objects:
        if part["kind"] in CLUSTER_WIDE and NAMESPACE not in part["metadata"]["name"]:
            yield f"{part['metadata']['name']} would meet one of another namespace"
        if part["kind"] in CLUSTER_WIDE and "priorityClasses" not in scenario.values:
            yield f"{part['metadata']['name']} was not asked for"
        if part["metadata"].get("annotations", {}).keys() & {"helm.sh/hook"}:
            yield f"{part['metadata']['name']} is a hook"


RULES = [
    all_nine_and_the_migration_are_there,
    replicas_are_absent_where_an_autoscaler_owns_them,
    a_worker_of_each_queue_is_always_left,
    budgets_block_no_drain,
    selectors_select_their_own_pods,
    services_lead_to_a_port,
    edges_lead_to_services,
    pods_are_behind_network_policies,
    labels_are_consistent,
    names_fit,
    nothing_is_of_the_cluster_unless_asked,
]
