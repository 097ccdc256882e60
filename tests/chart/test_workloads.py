"""What single values do to the workloads and the migration."""

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


def test_two_releases_with_a_long_beginning_in_common_have_no_name_in_common() -> None:
    def names(release: str) -> set[str]:
        return {part["metadata"]["name"] for part in rendered(SECRETS, release=release)}

    assert not names("the-engine-of-the-trading-department-in-europe") & names(
        "the-engine-of-the-trading-department-in-asia"
    )


# Three layers


def test_a_group_counts_more_than_the_defaults_and_a_status_more_than_its_group() -> None:
    values = {
        "defaults": {"replicas": 2},
        "statusDispatcher": {"replicas": 3, "statuses": {"failed": {"replicas": 4}}},
    }

    assert replicas("gateway", values) == 2
    assert replicas("status-dispatcher-pending", values) == 3
    assert replicas("status-dispatcher-failed", values) == 4


@pytest.mark.parametrize(("nothing", "written"), [(0, 0), ("", None)])
def test_a_layer_may_set_nothing_over_something(nothing: int | str, written: int | None) -> None:
    values = {
        "defaults": {"replicas": 2},
        "gateway": {"replicas": nothing},
    }

    assert replicas("gateway", values) == written


def test_false_counts_over_true() -> None:
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


def test_one_workload_is_changed_alone() -> None:
    before = rendered(SECRETS)
    after = rendered(SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replicas": 3}}}})

    changed = [part["metadata"]["name"] for part in after if part not in before]

    assert changed == ["engine-order-engine-status-dispatcher-failed"]


def test_numbers_are_told_as_they_were_written() -> None:
    values = {"gateway": {"config": {"ORDERS_WAITING_MAX": 10_000_000}}}

    assert variables("gateway", values)["ORDERS_WAITING_MAX"] == "10000000"


def test_doors_are_told_who_may_come_in() -> None:
    values = {"trustedProxies": ["10.0.0.0/8", "::1"], "corsOrigins": ["*"]}
    told = {"AUTH": "keys", "TRUSTED_PROXIES": "10.0.0.0/8,::1", "CORS_ORIGINS": "*"}

    assert variables("gateway", values).items() >= told.items()
    assert variables("ws-gateway", values).items() >= told.items()
    assert not variables("order-worker", values).keys() & told.keys()


def test_a_spread_counts_the_pods_of_its_own_workload() -> None:
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


def test_the_settings_that_the_chart_counts_with_are_those_of_the_code() -> None:
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
def test_the_grace_period_holds_what_leaving_takes(name: str, values: Values, grace_s: int) -> None:
    pod = deployment(name, values)["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] == grace_s


def test_the_time_that_a_door_needs_is_that_of_the_code() -> None:
    assert (
        f"$answering := ternary {DRAIN_REQUESTS_S} 0"
        in (CHART / "templates/_checks.tpl").read_text()
    )


@pytest.mark.parametrize("name", ["gateway", "order-worker", "ws-gateway"])
def test_who_waits_for_the_schema_is_told_all_that_libpq_may_need(name: str) -> None:
    further = [
        {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "pg", "key": "password"}}},
        {"name": "PGSSLROOTCERT", "value": "system"},
    ]

    pod = deployment(name, {"defaults": {"extraEnv": further}})["spec"]["template"]["spec"]

    for told in (*pod["initContainers"], *pod["containers"]):
        assert told["env"][-2:] == further


def test_the_share_of_the_drain_for_orders_in_hand_is_that_of_the_code() -> None:
    assert f"mulf {DRAIN_SHARE} " in (CHART / "templates/_checks.tpl").read_text()


# Priorities


def test_priorities_are_those_of_the_statuses() -> None:
    statuses = VALUES["statusDispatcher"]["statuses"]

    assert {OrderStatus(status): of["priority"] for status, of in statuses.items()} == (
        STATUS_PRIORITIES
    )


def test_what_comes_first_has_the_higher_class_and_statuses_come_last() -> None:
    objects = RENDERED["priority-classes"].objects()
    worth = {part["metadata"]["name"]: part["value"] for part in of_kind(objects, "PriorityClass")}
    by_component = {
        part["metadata"]["labels"]["app.kubernetes.io/component"]: worth[
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
def test_a_class_of_another_worth_has_another_name(values: Values) -> None:
    # what a class is worth cannot be changed, so an upgrade would fail
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
def test_another_migration_has_another_name(values: Values) -> None:
    assert migration(values)["metadata"]["name"] != migration({})["metadata"]["name"]


def test_a_finished_migration_stays() -> None:
    # Argo CD would find it missing, and run it again and again
    assert "ttlSecondsAfterFinished" not in migration({})["spec"]


def test_pods_start_anew_when_the_url_of_a_store_that_they_open_changes() -> None:
    def annotations(name: str, host: str) -> Object:
        values = {"postgres": {"url": f"postgresql://{host}/orders"}, "redis": SECRETS["redis"]}
        template = named(rendered(values), "Deployment", name)["spec"]["template"]
        return dict(template["metadata"].get("annotations", {}))

    assert annotations("gateway", "a") != annotations("gateway", "b")
    assert annotations("status-dispatcher-failed", "a") == annotations(
        "status-dispatcher-failed", "b"
    )


def test_the_development_postgres_is_made_as_in_compose() -> None:
    init = named(RENDERED["dev"].objects(), "ConfigMap", "postgres-init")

    assert init["data"]["chain.sql"] == (CHART.parents[1] / "docker/chain.sql").read_text()


def test_the_development_postgres_keeps_its_directory_to_itself() -> None:
    stores = named(RENDERED["dev"].objects(), "StatefulSet", "postgres")
    context = stores["spec"]["template"]["spec"]["securityContext"]

    # else its directory is the group's when a second pod mounts it, and PostgreSQL does not start
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_development_stores_go_where_the_workloads_may(name: str) -> None:
    where: dict[str, Any] = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "trading"},
        "tolerations": [{"key": "trading", "operator": "Exists"}],
    }

    store = named(rendered({"defaults": where}, presets=("dev",)), "StatefulSet", name)

    assert store["spec"]["template"]["spec"].items() >= where.items()


# TLS


def test_authorities_are_mounted_where_their_stores_are_opened() -> None:
    objects = RENDERED["tls"].objects()

    def mounted(name: str) -> set[str]:
        pod = named(objects, "Deployment", name)["spec"]["template"]["spec"]
        return {volume["name"] for volume in pod["volumes"]} - {"tmp"}

    assert mounted("gateway") == {"postgres-ca", "redis-ca"}
    assert mounted("status-dispatcher-failed") == {"redis-ca"}


def test_a_redis_url_is_told_its_authority() -> None:
    (secret,) = of_kind(RENDERED["tls"].objects(), "Secret")

    assert secret["stringData"] == {
        "REDIS_URL": "rediss://rd:6380/0?a=b&ssl_ca_certs=/etc/order-engine/redis-ca/ca.crt"
    }


def test_libpq_checks_the_server_that_it_has_an_authority_for() -> None:
    values = {"postgres": SECRETS["postgres"] | {"tls": {"caSecret": "ca"}}}

    assert variables("gateway", values).items() >= {
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/etc/order-engine/postgres-ca/ca.crt"),
    }


def test_libpq_believes_the_systems_authorities_where_none_is_given() -> None:
    values = {"postgres": SECRETS["postgres"] | {"tls": {"mode": "verify-full"}}}

    assert variables("gateway", values).items() >= {
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "system"),
    }
