"""The notes after an installation: they match the values and show what to do next."""

import shutil
from pathlib import Path

import pytest

from chart.scenarios import SECRETS
from order_engine.execution.domain.status import OrderStatus
from support.helm import CHART, Values, of_kind, rendered


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that renders its notes as an object: `helm template` leaves them out."""
    chart = tmp_path_factory.mktemp("noted") / "order-engine"
    shutil.copytree(CHART, chart)
    notes = (chart / "templates/NOTES.txt").read_text()
    (chart / "templates/notes.yaml").write_text(
        '{{- define "notes" }}' + notes + "{{- end }}\n"
        'kind: Notes\ntext: {{ include "notes" . | toJson }}\n'
    )
    return chart


def notes(chart: Path, values: Values, *presets: str) -> str:
    (found,) = of_kind(rendered(values, presets=presets, chart=chart), "Notes")
    return str(found["text"])


def test_the_notes_show_how_to_make_a_key_when_auth_is_keys(noted: Path) -> None:
    assert "keys create" in notes(noted, SECRETS, "production")
    assert "WARNING: auth is `open`" in notes(noted, {}, "dev")


def test_the_notes_show_the_key_in_each_call(noted: Path) -> None:
    assert "  ENGINE_API_KEY=KEY order-engine demo --url" in notes(noted, SECRETS)
    assert "  order-engine demo --url" in notes(noted, SECRETS | {"auth": "open"})


def test_the_notes_list_how_long_kubectl_scale_lasts_for_each_workload(noted: Path) -> None:
    values = {
        "defaults": {"replicas": ""},
        "gateway": {"replicas": 2},
        "statusDispatcher": {"autoscaling": {"keda": {"enabled": True}}},
        "wsGateway": {"replicas": 2, "autoscaling": {"hpa": {"enabled": True}}},
    }
    dispatchers = ", ".join(f"status-dispatcher-{status}" for status in sorted(OrderStatus))

    text = notes(noted, SECRETS | values)

    assert "- gateway:\n  It lasts until the next `helm upgrade`" in text
    assert "- order-worker:\n  It lasts: `replicas` is empty" in text
    assert f"- {dispatchers}, ws-gateway:\n  The autoscaler reverts it" in text


def test_the_notes_mention_only_the_kinds_of_scaling_in_use(noted: Path) -> None:
    text = notes(noted, {}, "dev")

    assert "lasts until the next `helm upgrade`" in text
    assert "It lasts: `replicas`" not in text
    assert "The autoscaler reverts it" not in text


def test_the_notes_show_where_to_send_orders(noted: Path) -> None:
    ingress = {"ingress": {"enabled": True, "hosts": ["orders.example"]}}

    assert "come in at orders.example." in notes(noted, SECRETS | ingress)
    assert "port-forward svc/engine-order-engine-gateway 3000:80" in notes(noted, SECRETS)


def test_the_notes_name_the_hosts_of_enabled_edges(noted: Path) -> None:
    edges = {
        "ingress": {"enabled": False, "hosts": ["orders.example"]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]},
    }

    text = notes(noted, SECRETS | edges)

    assert "come in at every name of the Gateway." in text
    assert "orders.example" not in text


def test_the_notes_list_what_an_edge_needs_in_production(noted: Path) -> None:
    edge = {"ingress": {"enabled": True, "hosts": ["orders.example"]}}
    proxies = {"trustedProxies": ["10.0.0.0/8"]}

    text = notes(noted, SECRETS | edge, "production")

    assert '"kubernetes.io/metadata.name":"ingress-nginx"' in text
    assert "trustedProxies is empty" in text
    assert "trustedProxies" not in notes(noted, SECRETS | edge | proxies, "production")


@pytest.mark.parametrize(
    ("values", "named_secrets"),
    [
        (SECRETS, "Secrets pg and rd reaches"),
        (SECRETS | {"redis": {"secret": {"name": "pg"}}}, "Secret pg reaches"),
        (SECRETS | {"postgres": {"url": "postgresql://h/d"}}, "Secret rd reaches"),
    ],
)
def test_the_notes_explain_when_pods_read_a_changed_secret(
    noted: Path, values: Values, named_secrets: str
) -> None:
    assert f"A change in the {named_secrets} the pods" in notes(noted, values)


def test_the_notes_show_how_to_repeat_a_failed_migration(noted: Path) -> None:
    of_the_migration = "app.kubernetes.io/instance=engine,app.kubernetes.io/component=migrate"

    assert f"delete job -l {of_the_migration}" in notes(noted, {}, "dev")
