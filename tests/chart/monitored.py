"""The dashboards and alerts of the chart, and every query in them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/order-engine"

Board = Mapping[str, Any]

BOARDS: Mapping[str, Board] = {
    path.stem: json.loads(path.read_text()) for path in CHART.glob("dashboards/*.json")
}
ALERTS = (CHART / "alerts/order-engine.yaml").read_text()
RULES = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]

VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$namespace": "orders",
    "$release": "engine",
}


def panels(board: Board) -> list[Board]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def filled(query: str, variables: Mapping[str, str] = VARIABLES) -> str:
    """The query as Grafana sends it."""
    for variable, value in variables.items():
        query = query.replace(variable, value)
    return query


def _of_boards() -> Iterator[tuple[str, str]]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}: {target['legendFormat']}", target["expr"]
        for annotation in board["annotations"]["list"]:
            yield f"{name}: annotation {annotation['name']}", annotation["expr"]


BOARD_QUERIES = dict(_of_boards())
QUERIES = {
    where: filled(query)
    for where, query in {
        **BOARD_QUERIES,
        **{rule["alert"]: rule["expr"] for rule in RULES},
    }.items()
}
