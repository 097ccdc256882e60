"""What the processes log, as lines for a person; and what the runner itself has to say."""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

PLAIN = "\033[0m"
DIM = "\033[2m"
PROCESSES = ("\033[36m", "\033[32m", "\033[35m", "\033[34m", "\033[96m", "\033[92m")
LEVELS = {"warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
UNSHOWN = frozenset({"deployable", "timestamp", "level", "event", "exception"})


class Terminal:
    """Prefixes each line with its process, in one column; in colours where a person looks."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._width = max(map(len, self._names))
        self._coloured = sys.stdout.isatty()

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def show(self, name: str, printed: bytes) -> None:
        """One line that the process `name` has printed."""
        text = printed.decode(errors="replace").rstrip()
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            lines, level = readable(event), str(event.get("level"))
        else:
            lines, level = [text], ""
        prefix = self._in(PROCESSES[self._names.index(name) % 6], f"{name:{self._width}}")
        for line in lines:
            self.say(f"{prefix} {self._in(LEVELS.get(level, ''), line)}")

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._coloured and colour else text


def readable(event: Mapping[str, Any]) -> list[str]:
    """A log event as `time sentence  field=value ...`, and below it the exceptions it carries."""
    fields = " ".join(
        f"{name}={_value(value)}" for name, value in event.items() if name not in UNSHOWN
    )
    lines = [f"{_time(event.get('timestamp'))} {event['event']}  {fields}".rstrip()]
    for error in reversed(event.get("exception") or ()):
        frames = error["frames"]
        lines += [f"    {at['filename']}:{at['lineno']} in {at['name']}" for at in frames]
        lines.append(f"    {error['exc_type']}: {error['exc_value']}")
    return lines


def _time(timestamp: object) -> str:
    """The local time of day."""
    try:
        return f"{datetime.fromisoformat(str(timestamp)).astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)
