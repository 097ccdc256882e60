"""Rules for every pod of any release: each yields its violations."""

from collections.abc import Iterator

from chart.deployables import (
    FOREIGN_VARIABLES,
    OF_POSTGRES,
    OF_REDIS,
    OPENS,
    SETTINGS,
    component,
    containers,
    pod_owners,
)
from chart.scenarios import Scenario
from order_engine.serving.server import DRAIN_REQUESTS_S
from support.helm import Object, of_kind

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def pods_are_restricted(_: Scenario, objects: list[Object]) -> Iterator[str]:
    """Pod Security `restricted`."""
    for owner in pod_owners(objects):
        pod = owner["spec"]["template"]["spec"]
        context = pod["securityContext"]
        if context["runAsNonRoot"] is not True or context.get("runAsUser") == 0:
            yield f"{component(owner)} may run as root"
        if context["seccompProfile"] != {"type": "RuntimeDefault"}:
            yield f"{component(owner)} has no seccomp profile"
        if {"hostNetwork", "hostPID", "hostIPC"} & pod.keys():
            yield f"{component(owner)} uses the host's namespaces"
        allowed = {"name", "configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        if any(volume.keys() - allowed for volume in pod["volumes"]):
            yield f"{component(owner)} mounts what `restricted` forbids"
        for container in containers(owner):
            context = container["securityContext"]
            if context["allowPrivilegeEscalation"] or context["capabilities"] != {"drop": ["ALL"]}:
                yield f"{container['name']} of {component(owner)} may gain privileges"


def roots_are_read_only(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in pod_owners(objects):
        volumes = {volume["name"] for volume in owner["spec"]["template"]["spec"]["volumes"]}
        for container in containers(owner):
            if container["securityContext"]["readOnlyRootFilesystem"] is not True:
                yield f"{container['name']} of {component(owner)}"
            if not {mount["name"] for mount in container["volumeMounts"]} <= volumes:
                yield f"{container['name']} of {component(owner)} mounts no volume of its pod"


def no_pod_has_a_token(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in pod_owners(objects):
        pod = owner["spec"]["template"]["spec"]
        if pod["automountServiceAccountToken"] is not False or "serviceAccountName" in pod:
            yield f"{component(owner)} has a token"
        if pod["enableServiceLinks"] is not False:
            yield f"{component(owner)} gets variables of Services"


def resources_are_set(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in pod_owners(objects):
        for container in containers(owner):
            resources = container["resources"]
            if not (resources["requests"].keys() >= {"cpu", "memory"}):
                yield f"{container['name']} of {component(owner)} requests too little"
            if "memory" not in resources["limits"]:
                yield f"{container['name']} of {component(owner)} has no bound on memory"


def images_have_a_tag(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in pod_owners(objects):
        for container in containers(owner):
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if tag in ("", "latest"):
                yield container["image"]


def probes_of_all_three_kinds(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment", "StatefulSet"):
        (main,) = owner["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for port in main["ports"]}
        for probe in PROBES:
            action = main[probe].get("httpGet", {"port": next(iter(ports))})
            if action["port"] not in ports:
                yield f"{probe} of {component(owner)} asks at no port of its container"


def variables_are_settings_of_the_deployable(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment", "Job"):
        known = {name.upper() for name in SETTINGS[component(owner)].model_fields}
        for container in containers(owner):
            names = [variable["name"] for variable in container["env"]]
            if len(names) != len(set(names)):
                yield f"{component(owner)} has a variable twice"
            yield from (
                f"{component(owner)} does not read {name}"
                for name in set(names) - known - FOREIGN_VARIABLES
            )


def nobody_knows_more_urls_than_it_opens(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment", "Job"):
        for container in containers(owner):
            names = {variable["name"] for variable in container["env"]}
            if more := names & (OF_POSTGRES | OF_REDIS) - OPENS[component(owner)]:
                yield f"{component(owner)} knows {more}"
            if container["name"] == "wait-for-schema" and names & OF_REDIS:
                yield f"{component(owner)} knows Redis before it has begun"


def required_settings_are_given(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment", "Job"):
        model = SETTINGS[component(owner)]
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        (main,) = owner["spec"]["template"]["spec"]["containers"]
        if missing := {name.upper() for name in required} - {
            variable["name"] for variable in main["env"]
        }:
            yield f"{component(owner)} lacks {missing}"


def plain_variables_pass_the_settings(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment", "Job"):
        (main,) = owner["spec"]["template"]["spec"]["containers"]
        model = SETTINGS[component(owner)]
        values = {
            variable["name"].lower(): variable["value"]
            for variable in main["env"]
            if "value" in variable and variable["name"] not in FOREIGN_VARIABLES
        }
        try:
            model(_env_file=None, **{"database_url": "postgresql://h/d"} | values)
        except ValueError as error:
            yield f"{component(owner)}: {error}"


def secrets_are_there_or_named_by_the_values(
    scenario: Scenario, objects: list[Object]
) -> Iterator[str]:
    made = {
        part["metadata"]["name"]: part["stringData"].keys() for part in of_kind(objects, "Secret")
    }
    for owner in of_kind(objects, "Deployment", "Job"):
        for container in containers(owner):
            for variable in container["env"]:
                source = variable.get("valueFrom", {}).get("secretKeyRef")
                if source is None or source.get("optional"):
                    continue
                outer = f"'{source['name']}'" in str(scenario.values)
                if not outer and source["key"] not in made.get(source["name"], ()):
                    yield f"no {source['key']} in a Secret {source['name']}"


def graces_hold_the_drain(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment"):
        pod = owner["spec"]["template"]["spec"]
        (main,) = pod["containers"]
        (drain_s,) = [float(v["value"]) for v in main["env"] if v["name"] == "DRAIN_S"]
        stop = main.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})
        is_door = "http" in {port["name"] for port in main["ports"]}
        needed_s = stop["seconds"] + drain_s + (DRAIN_REQUESTS_S if is_door else 0)
        if needed_s >= pod["terminationGracePeriodSeconds"]:
            yield component(owner)


def who_opens_postgres_waits_for_its_schema(_: Scenario, objects: list[Object]) -> Iterator[str]:
    for owner in of_kind(objects, "Deployment"):
        opens = OPENS[component(owner)] & OF_POSTGRES
        waiting = owner["spec"]["template"]["spec"].get("initContainers", [])
        (main,) = owner["spec"]["template"]["spec"]["containers"]
        if bool(opens) != bool(waiting):
            yield component(owner)
        for container in waiting:
            if container["command"][:2] != ["migrate", "--wait"]:
                yield f"{component(owner)} waits for something else"
            if container["image"] != main["image"]:
                yield f"{component(owner)} waits for the schema of another version"
            chain = "CHAIN_DATABASE_URL" in {variable["name"] for variable in container["env"]}
            if chain != ("chain" in container["command"]):
                yield f"{component(owner)} waits for a ledger that it does not know"


RULES = [
    pods_are_restricted,
    roots_are_read_only,
    no_pod_has_a_token,
    resources_are_set,
    images_have_a_tag,
    probes_of_all_three_kinds,
    variables_are_settings_of_the_deployable,
    nobody_knows_more_urls_than_it_opens,
    required_settings_are_given,
    plain_variables_pass_the_settings,
    secrets_are_there_or_named_by_the_values,
    graces_hold_the_drain,
    who_opens_postgres_waits_for_its_schema,
]
