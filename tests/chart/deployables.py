"""The deployables, what each may connect to, and how to find them among rendered objects."""

from order_engine.execution.deployables import DEPLOYABLES
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.settings import CommonSettings
from support.helm import Object, of_kind

DISPATCHERS = [f"status-dispatcher-{status}" for status in OrderStatus]
SETTINGS: dict[str, type[CommonSettings]] = {
    workload: deployable.settings for deployable in DEPLOYABLES for workload in deployable.workloads
}
WORKLOADS = SETTINGS.keys() - {"migrate"}
DATASTORES = {"postgres", "redis"}

# Read by libpq, and by Python itself.
FOREIGN_VARIABLES = {"PGSSLMODE", "PGSSLROOTCERT", "PYTHONFAULTHANDLER"}
OF_POSTGRES = {"DATABASE_URL", "CHAIN_DATABASE_URL", "PGSSLMODE", "PGSSLROOTCERT"}
OF_REDIS = {"REDIS_URL", "REDIS_QUEUE_URL", "REDIS_PUBSUB_URL"}

# The store variables that a workload may have.
OPENS = {
    workload: deployable.urls | (OF_POSTGRES if "DATABASE_URL" in deployable.urls else set())
    for deployable in DEPLOYABLES
    for workload in deployable.workloads
}


def component(part: Object) -> str:
    return str(part["metadata"]["labels"]["app.kubernetes.io/component"])


def pod_owners(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "Deployment", "StatefulSet", "Job")


def containers(owner: Object) -> list[Object]:
    pod = owner["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def pod_labels(owner: Object) -> dict[str, str]:
    return dict(owner["spec"]["template"]["metadata"]["labels"])


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()
