import json

import pytest

from order_engine.local.terminal import readable

MOVED = {
    "deployable": "order-worker",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "level": "info",
    "event": "order moved",
    "seq": 3,
}


def test_an_event_is_shown_with_its_time_process_and_fields() -> None:
    line = readable("order-worker", json.dumps(MOVED), colours=False)

    assert line.partition(":")[2] == "04:05 [info] order moved [order-worker] seq=3"


def test_an_exception_follows_its_event() -> None:
    error = {
        "exc_type": "StoreUnavailable",
        "exc_value": "gone",
        "frames": [{"filename": "jobs.py", "lineno": 7, "name": "execute"}],
    }
    shown = readable("order-worker", json.dumps({**MOVED, "exception": [error]}), colours=False)

    assert shown.splitlines()[1:] == ["    jobs.py:7 in execute", "    StoreUnavailable: gone"]


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "17", "{}", "{broken"])
def test_a_line_that_is_not_an_event_is_shown_unchanged(line: str) -> None:
    assert readable("web", line, colours=False) == f"web: {line}"
