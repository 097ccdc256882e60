"""Alerts as values, and as Prometheus reads them.

What only the render of the chart knows stands in the file as %NAMESPACE%, %RELEASE% and %RUNBOOK%:
in strings, so that the file is a valid one of rules as it is.
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
    """Fires when `query` has had an answer for `lasting`; `@` in it stands for MATCHERS.

    `critical` is for a human at once, `warning` for the next working hour. The summary may hold
    Prometheus templates, the description says what it means.
    """

    name: str
    severity: Literal["critical", "warning"]
    query: str
    lasting: str
    summary: str
    description: str


def anchor(name: str) -> str:
    """Where the runbook's section of an alert is found, by GitHub's rules for headings."""
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
    """Writes what has several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
