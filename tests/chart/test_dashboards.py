"""Dashboards describe what they show, and Grafana can read them."""

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from chart.monitored import BOARDS, Board, filled, panels
from support.promql import uses

WIDTH = 24
SUMS_OF_SUMS = {"Jobs that it holds", "Invariants broken"}  # one line from several queries

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


@each_board
def test_a_panel_has_a_title_a_description_and_a_unit(board: Board) -> None:
    for panel in panels(board):
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


@each_board
def test_every_query_uses_the_chosen_data_source(board: Board) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(board):
        assert panel["datasource"] == chosen
        for target in panel["targets"]:
            assert target["datasource"] == chosen


@each_board
def test_a_legend_uses_the_labels_that_its_query_keeps(board: Board) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {
                label
                for use in uses(filled(target["expr"]))
                for label in (use.aggregations[0][1] if use.aggregations else ())
            }

            assert named <= kept
            # otherwise two lines have one name
            assert kept - {"le"} <= named or panel["title"] in SUMS_OF_SUMS


@each_board
def test_lines_of_a_panel_have_different_names(board: Board) -> None:
    for panel in panels(board):
        legends = [target["legendFormat"] for target in panel["targets"]]

        assert len(set(legends)) == len(legends)
        assert all(legends) or panel["type"] == "stat"


@each_board
def test_panels_fill_every_row(board: Board) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = max(y for _, y in taken) + 1

    assert len(taken) == WIDTH * height
    assert max(x for x, _ in taken) < WIDTH


@each_board
def test_grafana_knows_every_field(board: Board) -> None:
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(dict(board))))

    assert read == board


@each_board
def test_a_dashboard_has_variables_for_source_and_release(board: Board) -> None:
    variables = [variable["name"] for variable in board["templating"]["list"]]

    assert variables == ["datasource", "namespace", "release"]


@each_board
def test_a_dashboard_shows_one_release(board: Board) -> None:
    # two would be mixed by the `max` over what all gateways of a release export
    for variable in board["templating"]["list"]:
        assert not variable["includeAll"]
        assert not variable["multi"]
        assert "current" not in variable


@each_board
def test_panels_have_different_ids(board: Board) -> None:
    ids = [panel["id"] for panel in board["panels"]]

    assert len(set(ids)) == len(ids)


def test_dashboards_have_the_names_of_their_files() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {f"order-engine-{n}" for n in BOARDS}
