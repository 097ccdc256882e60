"""Alerts as values, and as a rules file of Prometheus.

The chart replaces %NAMESPACE%, %RELEASE% and %RUNBOOK% when it is rendered. They are in strings
only, so that the file is valid without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

PREFIX = "OrderEngine"
RUNBOOK = "%RUNBOOK%"
MATCHERS = 'namespace="%NAMESPACE%",app_kubernetes_io_instance="%RELEASE%"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Fires when `query` has had a result for `lasting`. `@` in the query stands for MATCHERS.

    `critical` needs a person at once, `warning` in the next working hour. The summary may contain
    Prometheus templates.
    """

    name: str
    severity: Literal["critical", "warning"]
    query: str
    lasting: str
    summary: str
    description: str


def anchor(name: str) -> str:
    """The anchor of the alert's section in the runbook, as GitHub makes it."""
    return f"{PREFIX}{name}".lower()


def document(groups: Mapping[str, Sequence[Alert]]) -> str:
    """The rules as YAML."""
    rules = [
        {"name": f"order-engine.{name}", "rules": [_rule(alert) for alert in alerts]}
        for name, alerts in groups.items()
    ]
    return yaml.dump({"groups": rules}, Dumper=_Dumper, sort_keys=False, width=100)


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": PREFIX + alert.name,
        "expr": alert.query.strip().replace("@", MATCHERS),
        "for": alert.lasting,
        "labels": {
            "severity": alert.severity,
            "namespace": "%NAMESPACE%",
            "release": "%RELEASE%",
        },
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOK}#{anchor(alert.name)}",
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
