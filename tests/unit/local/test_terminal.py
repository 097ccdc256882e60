import json
import re

import pytest

from order_engine.local.terminal import Terminal, readable

MOVED = {
    "deployable": "order-worker",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "level": "info",
    "event": "order moved",
    "source": "routing",
    "seq": 3,
}


def test_an_event_reads_as_time_sentence_and_fields() -> None:
    (line,) = readable(MOVED)

    assert re.fullmatch(r"\d\d:\d\d:05 order moved  source=routing seq=3", line)


def test_a_value_with_blanks_is_quoted() -> None:
    (line,) = readable({"event": "lost", "error": "no answer", "quotes": {"raydium": "1.5"}})

    assert line == '--:--:-- lost  error="no answer" quotes={"raydium": "1.5"}'


def test_an_exception_follows_its_event_the_cause_first() -> None:
    frame = {"filename": "jobs.py", "lineno": 7, "name": "execute"}
    errors = [
        {"exc_type": "StoreUnavailable", "exc_value": "gone", "frames": [frame]},
        {"exc_type": "OSError", "exc_value": "reset", "frames": []},
    ]

    assert readable({"event": "job failed", "exception": errors})[1:] == [
        "    OSError: reset",
        "    jobs.py:7 in execute",
        "    StoreUnavailable: gone",
    ]


@pytest.mark.parametrize("printed", ["Traceback (most recent call last):", "17", "{}", "{broken"])
def test_what_is_no_event_is_shown_as_printed(
    printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Terminal(["web"]).show("web", printed.encode())

    assert capsys.readouterr().out == f"web {printed}\n"


def test_names_stand_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(["web", "order-worker"])
    terminal.show("web", b"one\n")
    terminal.show("order-worker", b"two\n")

    assert capsys.readouterr().out == "web          one\norder-worker two\n"


def test_a_pipe_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(["web"]).show("web", json.dumps({**MOVED, "level": "error"}).encode())

    assert "\033" not in capsys.readouterr().out
