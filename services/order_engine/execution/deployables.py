"""The one table of deployables. Programs, scripts and tests read it.

`tests/chart/test_files.py` holds the Dockerfile, Compose, Skaffold, the chart and the documentation
to it; `tests/unit/test_architecture.py` holds the imports of each deployable to the URLs it reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.settings import (
    CommonSettings,
    GatewaySettings,
    MigrateSettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
    WsGatewaySettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployable:
    name: str  # of its command, its image and its workload
    module: str  # its `main()` runs it
    settings: type[CommonSettings]
    values: str  # its group in the chart's values.yaml
    urls: frozenset[str]  # the settings that name the stores it opens; it never opens others
    serves_clients: bool = False  # listens on PORT, besides its admin port
    runs_once: bool = False
    per_status: bool = False  # one workload for each status, started with --status

    @property
    def workloads(self) -> Sequence[str]:
        if self.per_status:
            return [f"{self.name}-{status}" for status in OrderStatus]
        return [self.name]


ORDERS_DB, CHAIN_DB = "DATABASE_URL", "CHAIN_DATABASE_URL"
QUEUES = frozenset({"REDIS_URL", "REDIS_QUEUE_URL"})
PUBSUB = frozenset({"REDIS_URL", "REDIS_PUBSUB_URL"})

DEPLOYABLES: Sequence[Deployable] = (
    Deployable(
        name="gateway",
        module="order_engine.gateway.main",
        settings=GatewaySettings,
        values="gateway",
        urls=frozenset({ORDERS_DB}) | QUEUES,
        serves_clients=True,
    ),
    Deployable(
        name="order-worker",
        module="order_engine.order_worker.main",
        settings=OrderWorkerSettings,
        values="orderWorker",
        urls=frozenset({ORDERS_DB, CHAIN_DB}) | QUEUES,
    ),
    Deployable(
        name="ws-gateway",
        module="order_engine.ws_gateway.main",
        settings=WsGatewaySettings,
        values="wsGateway",
        urls=frozenset({ORDERS_DB}) | PUBSUB,
        serves_clients=True,
    ),
    Deployable(
        name="status-dispatcher",
        module="order_engine.status_dispatcher.main",
        settings=StatusDispatcherSettings,
        values="statusDispatcher",
        urls=QUEUES | PUBSUB,
        per_status=True,
    ),
    Deployable(
        name="migrate",
        module="order_engine.execution.migrations.main",
        settings=MigrateSettings,
        values="migration",
        urls=frozenset({ORDERS_DB, CHAIN_DB}),
        runs_once=True,
    ),
)

# The names of the processes that run all the time.
WORKLOADS: Sequence[str] = [
    workload
    for deployable in DEPLOYABLES
    if not deployable.runs_once
    for workload in deployable.workloads
]


def deployable_of(workload: str) -> Deployable:
    """Raises KeyError when no deployable has this workload."""
    for deployable in DEPLOYABLES:
        if workload in deployable.workloads:
            return deployable
    raise KeyError(workload)
