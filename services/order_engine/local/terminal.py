"""The output of `make run`: its own lines, and those of the processes in a readable form."""

import json
import sys
from datetime import datetime
from functools import cache
from typing import Any

from structlog.dev import ConsoleRenderer, plain_traceback


def report(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_output(name: str, line: bytes) -> None:
    """Shows one line that the process `name` has printed."""
    report(readable(name, line.decode(errors="replace").rstrip(), colours=sys.stdout.isatty()))


def readable(name: str, line: str, *, colours: bool) -> str:
    """A log event as structlog shows it; any other line unchanged, after the process's name."""
    try:
        event = json.loads(line)
        event["logger"] = event.pop("deployable")
        event["timestamp"] = f"{datetime.fromisoformat(event['timestamp']).astimezone():%H:%M:%S}"
        if errors := event.pop("exception", None):
            event["exception"] = "\n".join(map(_error_text, reversed(errors)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{name}: {line}"
    return _renderer(colours)(None, "", event)


@cache
def _renderer(colours: bool) -> ConsoleRenderer:
    return ConsoleRenderer(
        colors=colours, pad_event_to=0, pad_level=False, exception_formatter=plain_traceback
    )


def _error_text(error: dict[str, Any]) -> str:
    """The error and where it was raised."""
    places = [f"    {at['filename']}:{at['lineno']} in {at['name']}\n" for at in error["frames"]]
    return f"{''.join(places)}    {error['exc_type']}: {error['exc_value']}"
