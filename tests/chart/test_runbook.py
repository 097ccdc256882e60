"""The runbook has a section for every alert, and names only what exists."""

import re
from collections.abc import Mapping

import pytest

from chart.monitored import BOARDS, ROOT, RULES, panels
from chart.query_rules import SOURCES
from order_engine.execution.settings import (
    GatewaySettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
    WsGatewaySettings,
)

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
PARTS = ["What it means.", "How to check.", "What to do."]

SETTINGS = {
    name.upper()
    for kind in (GatewaySettings, OrderWorkerSettings, StatusDispatcherSettings, WsGatewaySettings)
    for name in kind.model_fields
}
# These look like log lines but are commands.
COMMANDS = {
    "helm rollback",
    "helm upgrade",
    "k describe",
    "k describe pod",
    "k get pods",
    "k logs",
    "rq suspend",
}


def anchor(heading: str) -> str:
    """The anchor of a heading, by the rules of GitHub."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def sections() -> Mapping[str, str]:
    """The text of each section, by its anchor."""
    parts = re.split(r"^## +(.+)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return {anchor(heading): text for heading, text in zip(parts[::2], parts[1::2], strict=True)}


SECTIONS = sections()


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    asked = {rule["annotations"]["runbook_url"].removeprefix("%RUNBOOK%#") for rule in RULES}

    assert asked == SECTIONS.keys()


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_a_section_explains_how_to_check_and_what_to_do(alert: str) -> None:
    found = re.findall(r"^\*\*(.+?)\*\*", SECTIONS[alert.lower()], flags=re.MULTILINE)

    assert found == PARTS


def test_every_link_has_a_target() -> None:
    inner = re.findall(r"\]\(#(.+?)\)", RUNBOOK)
    outer = [
        link["url"].removeprefix("%RUNBOOK%#")
        for board in BOARDS.values()
        for panel in panels(board)
        for link in panel.get("links", [])
    ]

    assert {*inner, *outer} <= SECTIONS.keys()


def test_named_dashboards_and_panels_exist() -> None:
    named = set(re.findall(r'"([A-Z][A-Za-z ]+)"', RUNBOOK))
    boards = {board["title"].removeprefix("Order engine / ") for board in BOARDS.values()}
    titles = {panel["title"] for board in BOARDS.values() for panel in panels(board)}

    assert named <= boards | titles


def test_named_settings_exist() -> None:
    assert set(re.findall(r"`([A-Z]+_[A-Z_]+)`", RUNBOOK)) <= SETTINGS


def test_quoted_log_lines_exist() -> None:
    quoted = set(re.findall(r"`([a-z/]+(?: [a-z]+,?)+)`", RUNBOOK))

    assert {each for each in quoted if f'"{each}"' not in SOURCES} == COMMANDS
