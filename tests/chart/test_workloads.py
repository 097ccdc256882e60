"""The effect of single values on the workloads and the migration."""

from typing import Any

import pytest
import yaml

from chart.scenarios import RENDERED, SECRETS
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import STATUS_PRIORITIES
from order_engine.execution.settings import OrderWorkerSettings, StatusDispatcherSettings
from order_engine.order_worker.main import DRAIN_SHARE
from order_engine.serving.server import DRAIN_REQUESTS_S
from support.helm import CHART, Object, Values, named, of_kind, rendered

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
RANKED_ANEW = {status: {"priority": 20} for status in OrderStatus}


def deployment(name: str, values: Values) -> Object:
    return named(rendered(SECRETS | dict(values)), "Deployment", name)


def replicas(name: str, values: Values) -> int | None:
    count: int | None = deployment(name, values)["spec"].get("replicas")
    return count


def container(name: str, values: Values) -> Object:
    (main,) = deployment(name, values)["spec"]["template"]["spec"]["containers"]
    return dict(main)


def variables(name: str, values: Values) -> dict[str, str]:
    return {
        variable["name"]: variable["value"]
        for variable in container(name, values)["env"]
        if "value" in variable
    }


# Names


def test_releases_with_a_long_common_prefix_share_no_name() -> None:
    def names(release: str) -> set[str]:
        return {part["metadata"]["name"] for part in rendered(SECRETS, release=release)}

    assert not names("the-engine-of-the-trading-department-in-europe") & names(
        "the-engine-of-the-trading-department-in-asia"
    )


# Three layers


def test_a_group_overrides_the_defaults_and_a_status_overrides_its_group() -> None:
    values = {
        "defaults": {"replicas": 2},
        "statusDispatcher": {"replicas": 3, "statuses": {"failed": {"replicas": 4}}},
    }

    assert replicas("gateway", values) == 2
    assert replicas("status-dispatcher-pending", values) == 3
    assert replicas("status-dispatcher-failed", values) == 4


@pytest.mark.parametrize(("nothing", "written"), [(0, 0), ("", None)])
def test_a_layer_may_override_a_value_with_nothing(nothing: int | str, written: int | None) -> None:
    values = {
        "defaults": {"replicas": 2},
        "gateway": {"replicas": nothing},
    }

    assert replicas("gateway", values) == written


def test_false_overrides_true() -> None:
    values = SECRETS | {
        "defaults": {"autoscaling": {"hpa": {"enabled": True}}},
        "orderWorker": {"autoscaling": {"hpa": {"enabled": False}}},
    }

    scaled = of_kind(rendered(values), "HorizontalPodAutoscaler")

    assert len(scaled) == 8


def test_maps_are_merged_and_lists_replaced() -> None:
    values: dict[str, Any] = {
        "defaults": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
        },
        "orderWorker": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "b", "operator": "Exists"}],
        },
    }

    pod = deployment("order-worker", values)["spec"]["template"]["spec"]

    assert pod["nodeSelector"] == {"disk": "fast", "zone": "a"}
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["b"]


def test_a_value_of_one_status_changes_only_its_workload() -> None:
    before = rendered(SECRETS)
    after = rendered(SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replicas": 3}}}})

    changed = [part["metadata"]["name"] for part in after if part not in before]

    assert changed == ["engine-order-engine-status-dispatcher-failed"]


def test_numbers_keep_their_notation() -> None:
    values = {"gateway": {"config": {"ORDERS_WAITING_MAX": 10_000_000}}}

    assert variables("gateway", values)["ORDERS_WAITING_MAX"] == "10000000"


def test_gateways_are_given_the_authentication_settings() -> None:
    values = {"trustedProxies": ["10.0.0.0/8", "::1"], "corsOrigins": ["*"]}
    expected = {"AUTH": "keys", "TRUSTED_PROXIES": "10.0.0.0/8,::1", "CORS_ORIGINS": "*"}

    assert variables("gateway", values).items() >= expected.items()
    assert variables("ws-gateway", values).items() >= expected.items()
    assert not variables("order-worker", values).keys() & expected.keys()


def test_a_topology_spread_selects_its_own_workload() -> None:
    values = {
        "defaults": {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            ]
        }
    }

    found = deployment("gateway", values)

    (constraint,) = found["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"] == found["spec"]["selector"]


def test_the_chart_uses_the_default_settings_of_the_code() -> None:
    worker, dispatcher = OrderWorkerSettings.model_fields, StatusDispatcherSettings.model_fields

    for group, fields in (("orderWorker", worker), ("statusDispatcher", dispatcher)):
        config = VALUES[group]["config"]

        assert config == {name: fields[name.lower()].default for name in config}


@pytest.mark.parametrize(
    ("name", "values", "grace_s"),
    [
        ("gateway", {}, 5 + 20 + 10 + 5),
        ("order-worker", {}, 20 + 5),
        ("gateway", {"defaults": {"drainSeconds": 60}}, 5 + 60 + 10 + 5),
        (
            "gateway",
            {"defaults": {"drainSeconds": 60, "terminationGracePeriodSeconds": 90}},
            90,
        ),
    ],
)
def test_the_grace_period_covers_the_whole_shutdown(
    name: str, values: Values, grace_s: int
) -> None:
    pod = deployment(name, values)["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] == grace_s


def test_the_shutdown_time_of_a_gateway_is_that_of_the_code() -> None:
    assert (
        f"$answering := ternary {DRAIN_REQUESTS_S} 0"
        in (CHART / "templates/_checks.tpl").read_text()
    )


@pytest.mark.parametrize("name", ["gateway", "order-worker", "ws-gateway"])
def test_a_pod_that_waits_for_the_schema_has_every_setting_of_libpq(name: str) -> None:
    further = [
        {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "pg", "key": "password"}}},
        {"name": "PGSSLROOTCERT", "value": "system"},
    ]

    pod = deployment(name, {"defaults": {"extraEnv": further}})["spec"]["template"]["spec"]

    for expected in (*pod["initContainers"], *pod["containers"]):
        assert expected["env"][-2:] == further


def test_the_share_of_the_drain_for_running_orders_is_that_of_the_code() -> None:
    assert f"mulf {DRAIN_SHARE} " in (CHART / "templates/_checks.tpl").read_text()


# Priorities


def test_dispatcher_priorities_are_those_of_the_statuses() -> None:
    statuses = VALUES["statusDispatcher"]["statuses"]

    assert {OrderStatus(status): of["priority"] for status, of in statuses.items()} == (
        STATUS_PRIORITIES
    )


def test_priority_classes_follow_the_order_of_importance() -> None:
    objects = RENDERED["priority-classes"].objects()
    value_of = {
        part["metadata"]["name"]: part["value"] for part in of_kind(objects, "PriorityClass")
    }
    by_component = {
        part["metadata"]["labels"]["app.kubernetes.io/component"]: value_of[
            part["spec"]["template"]["spec"]["priorityClassName"]
        ]
        for part in of_kind(objects, "Deployment", "Job")
    }

    statuses = sorted(STATUS_PRIORITIES, key=lambda status: STATUS_PRIORITIES[status])
    falling = [by_component[f"status-dispatcher-{status}"] for status in statuses]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) == len(falling)
    assert by_component["order-worker"] > max(falling)


def classes(values: Values, *, release: str = "engine", namespace: str = "trading") -> set[str]:
    asked = {**SECRETS, "priorityClasses": {"create": True}, **values}
    objects = rendered(asked, release=release, namespace=namespace)
    return {part["metadata"]["name"] for part in of_kind(objects, "PriorityClass")}


@pytest.mark.parametrize(
    "values",
    [
        {"priorityClasses": {"create": True, "base": 2000}},
        {"priorityClasses": {"create": True, "preemptionPolicy": "PreemptLowerPriority"}},
        {"defaults": {"priority": 20}, "statusDispatcher": {"statuses": RANKED_ANEW}},
    ],
)
def test_a_class_with_another_value_has_another_name(values: Values) -> None:
    # the value of a class is immutable, so an upgrade would fail
    assert not classes(values) & classes({})


def test_classes_of_two_releases_never_share_a_name() -> None:
    assert not classes({}, namespace="a", release="b-c") & classes({}, namespace="a-b", release="c")


# The migration


def migration(values: Values) -> Object:
    (job,) = of_kind(rendered(SECRETS | dict(values)), "Job")
    return job


def test_the_same_migration_has_the_same_name() -> None:
    name = migration({})["metadata"]["name"]

    assert migration({"gateway": {"replicas": 3}})["metadata"]["name"] == name


@pytest.mark.parametrize(
    "values",
    [
        {"migration": {"image": {"tag": "0.2.0"}}},
        {"migration": {"config": {"LOG_LEVEL": "DEBUG"}}},
        {"postgres": {"url": "postgresql://another/orders", "secret": {"name": ""}}},
    ],
)
def test_a_different_migration_has_a_different_name(values: Values) -> None:
    assert migration(values)["metadata"]["name"] != migration({})["metadata"]["name"]


def test_a_finished_migration_is_kept() -> None:
    # otherwise Argo CD finds it missing, and runs it again each time
    assert "ttlSecondsAfterFinished" not in migration({})["spec"]


def test_pods_restart_when_the_url_of_a_store_that_they_open_changes() -> None:
    def annotations(name: str, host: str) -> Object:
        values = {"postgres": {"url": f"postgresql://{host}/orders"}, "redis": SECRETS["redis"]}
        template = named(rendered(values), "Deployment", name)["spec"]["template"]
        return dict(template["metadata"].get("annotations", {}))

    assert annotations("gateway", "a") != annotations("gateway", "b")
    assert annotations("status-dispatcher-failed", "a") == annotations(
        "status-dispatcher-failed", "b"
    )


def test_the_development_postgres_is_initialised_as_in_compose() -> None:
    init = named(RENDERED["dev"].objects(), "ConfigMap", "postgres-init")

    assert init["data"]["chain.sql"] == (CHART.parents[1] / "docker/chain.sql").read_text()


def test_only_its_user_can_read_the_directory_of_the_development_postgres() -> None:
    stores = named(RENDERED["dev"].objects(), "StatefulSet", "postgres")
    context = stores["spec"]["template"]["spec"]["securityContext"]

    # otherwise a second pod that mounts the directory makes it group-readable, and PostgreSQL refuses it
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_development_stores_take_the_scheduling_of_the_defaults(name: str) -> None:
    where: dict[str, Any] = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "trading"},
        "tolerations": [{"key": "trading", "operator": "Exists"}],
    }

    store = named(rendered({"defaults": where}, presets=("dev",)), "StatefulSet", name)

    assert store["spec"]["template"]["spec"].items() >= where.items()


# TLS


def test_certificate_authorities_are_mounted_in_pods_that_open_their_stores() -> None:
    objects = RENDERED["tls"].objects()

    def mounted(name: str) -> set[str]:
        pod = named(objects, "Deployment", name)["spec"]["template"]["spec"]
        return {volume["name"] for volume in pod["volumes"]} - {"tmp"}

    assert mounted("gateway") == {"postgres-ca", "redis-ca"}
    assert mounted("status-dispatcher-failed") == {"redis-ca"}


def test_a_redis_url_names_its_certificate_authority() -> None:
    (secret,) = of_kind(RENDERED["tls"].objects(), "Secret")

    assert secret["stringData"] == {
        "REDIS_URL": "rediss://rd:6380/0?a=b&ssl_ca_certs=/etc/order-engine/redis-ca/ca.crt"
    }


def test_libpq_verifies_the_server_when_an_authority_is_given() -> None:
    values = {"postgres": SECRETS["postgres"] | {"tls": {"caSecret": "ca"}}}

    assert variables("gateway", values).items() >= {
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/etc/order-engine/postgres-ca/ca.crt"),
    }


def test_libpq_uses_the_authorities_of_the_system_when_none_is_given() -> None:
    values = {"postgres": SECRETS["postgres"] | {"tls": {"mode": "verify-full"}}}

    assert variables("gateway", values).items() >= {
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "system"),
    }
