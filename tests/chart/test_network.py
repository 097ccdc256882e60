"""NetworkPolicies: which pods may connect to which."""

from typing import Any

import pytest

from chart.scenarios import RENDERED, SECRETS
from order_engine.execution.domain.status import OrderStatus
from support.helm import Object, Values, named, of_kind, rendered

DISPATCHERS = {f"status-dispatcher-{status}" for status in OrderStatus}
OF_POSTGRES = {"gateway", "order-worker", "ws-gateway", "migrate"}
OF_REDIS = {"gateway", "order-worker", "ws-gateway", *DISPATCHERS}
GATEWAYS = {"gateway", "ws-gateway"}
WORKLOADS = OF_REDIS


def policies(scenario: str) -> dict[str, Object]:
    return {
        part["metadata"]["labels"]["app.kubernetes.io/component"]: part["spec"]
        for part in of_kind(RENDERED[scenario].objects(), "NetworkPolicy")
    }


def rules(spec: Object, direction: str) -> dict[Any, Any]:
    """The peers of each port, without DNS; None when every peer is allowed."""
    ends = {"ingress": "from", "egress": "to"}
    return {
        port["port"]: rule.get(ends[direction])
        for rule in spec.get(direction, [])
        for port in rule["ports"]
        if port["port"] != 53
    }


def peers_of(direction: str, port: object, *, scenario: str) -> set[str]:
    found = policies(scenario)
    return {name for name, spec in found.items() if port in rules(spec, direction)}


def test_all_traffic_is_denied_by_default() -> None:
    spec = policies("defaults")["all"]

    assert spec.keys() == {"podSelector", "policyTypes"}
    assert spec["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("scenario", ["defaults", "dev"])
def test_a_workload_reaches_only_the_stores_that_it_opens(scenario: str) -> None:
    assert peers_of("egress", 5432, scenario=scenario) == OF_POSTGRES
    assert peers_of("egress", 6379, scenario=scenario) == OF_REDIS


def test_only_development_stores_are_selected_by_pod() -> None:
    gateway = policies("dev")["gateway"]

    assert {
        port: peers[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for port, peers in rules(gateway, "egress").items()
    } == {5432: "postgres", 6379: "redis"}
    assert set(rules(policies("defaults")["gateway"], "egress").values()) == {None}


def test_no_other_egress_is_allowed() -> None:
    for name, spec in policies("defaults").items():
        assert rules(spec, "egress").keys() <= {5432, 6379}, name


def test_only_gateways_accept_clients_and_only_workloads_accept_scrapers() -> None:
    assert peers_of("ingress", "http", scenario="defaults") == GATEWAYS
    assert peers_of("ingress", "admin", scenario="defaults") == WORKLOADS


def test_dns_is_allowed_only_to_the_dns_server() -> None:
    for name, spec in policies("dev").items():
        ports = [
            (port["port"], port["protocol"], bool(rule["to"]))
            for rule in spec.get("egress", [])
            for port in rule["ports"]
            if port["port"] == 53
        ]
        expected = [(53, "UDP", True), (53, "TCP", True)] if name in OF_POSTGRES | OF_REDIS else []

        assert ports == expected, name


@pytest.mark.parametrize("ports", [[5353], [53, 5353], [8053]])
def test_the_ports_of_dns_come_from_the_values(ports: list[int]) -> None:
    objects = rendered(SECRETS | {"networkPolicy": {"dnsPorts": ports}})
    dns = named(objects, "NetworkPolicy", "gateway")["spec"]["egress"][0]

    assert dns["ports"] == [
        {"port": port, "protocol": protocol} for port in ports for protocol in ("UDP", "TCP")
    ]


def test_development_stores_accept_their_workloads_and_have_no_egress() -> None:
    found = policies("dev")

    def let_in(store: str) -> set[str]:
        (peers,) = rules(found[store], "ingress").values()
        return {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in peers}

    assert let_in("postgres") == OF_POSTGRES
    assert let_in("redis") == OF_REDIS
    assert not rules(found["postgres"], "egress")
    assert not rules(found["redis"], "egress")


def test_peers_come_from_the_values() -> None:
    found = policies("network-policies-to-known-stores")["gateway"]

    assert rules(found, "egress") == {
        5432: [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        6379: [{"ipBlock": {"cidr": "10.0.0.2/32"}}],
    }
    assert rules(found, "ingress") == {
        "admin": [{"namespaceSelector": {"matchLabels": {"watch": "yes"}}}],
        "http": [{"namespaceSelector": {"matchLabels": {"edge": "yes"}}}],
    }


def test_production_accepts_only_the_edge_and_the_monitoring() -> None:
    for spec in policies("production").values():
        for peers in rules(spec, "ingress").values():
            assert peers
            assert all("matchLabels" in peer["namespaceSelector"] for peer in peers)


def test_policies_use_the_port_names_of_the_pods() -> None:
    objects = RENDERED["dev"].objects()
    gateway = named(objects, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]
    postgres = named(objects, "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][
        0
    ]

    assert {port["name"] for port in gateway["ports"]} == {"http", "admin"}
    assert {port["name"] for port in postgres["ports"]} == {"postgres"}


def opened(name: str, values: Values) -> set[Any]:
    """The ports of stores that a workload may connect to."""
    return set(rules(named(rendered(values), "NetworkPolicy", name)["spec"], "egress"))


URLS = {
    "postgres": {"url": "postgresql://u:p%40:1@h:6432/d", "chainUrl": "postgresql://[::1]:6433/c"},
    "redis": {
        "url": "rediss://h:7000/0?a=b:1",
        "queueUrl": "redis://:p@q:7001/0",
        "pubsubUrl": "redis://p:7002",
    },
}


def test_a_workload_may_connect_to_the_ports_of_its_urls() -> None:
    assert {name: opened(name, URLS) for name in (*WORKLOADS, "migrate")} == {
        "gateway": {6432, 7000, 7001},
        "order-worker": {6432, 6433, 7000, 7001},
        "ws-gateway": {6432, 7000, 7002},
        "migrate": {6432, 6433},
        **{dispatcher: {7000, 7001, 7002} for dispatcher in DISPATCHERS},
    }


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("postgresql://h/d", {5432}),
        ("postgresql://[::1]/d", {5432}),
        ("postgresql://u:6432@h?application_name=x:1", {5432}),
        ("postgresql://a:6432,b:6433,c/d", {5432, 6432, 6433}),
    ],
)
def test_a_url_may_have_no_port_or_several(url: str, ports: set[int]) -> None:
    assert opened("migrate", {"postgres": {"url": url}, "redis": SECRETS["redis"]}) == ports


def test_ports_of_urls_in_secrets_come_from_the_values() -> None:
    values = {
        "postgres": SECRETS["postgres"] | {"ports": [6432, 6433]},
        "redis": SECRETS["redis"] | {"ports": [7000]},
    }

    assert opened("order-worker", values) == {6432, 6433, 7000}


@pytest.mark.parametrize("nothing", [[], None])
def test_empty_ports_mean_the_default_ports(nothing: list[int] | None) -> None:
    values = {name: store | {"ports": nothing} for name, store in SECRETS.items()}

    assert opened("gateway", values) == {5432, 6379}
