"""Keeps a warning that repeats from filling the logs: each is written at most once a minute."""

import sys
import threading
import time
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, WrappedLogger

WRITE_EVERY_S = 60.0
KEPT_MAX = 1_000  # different warnings; beyond, the oldest is forgotten
LEVELS = frozenset({"warning", "error"})


class Repeats:
    """A processor of structlog. Drops a warning or error that was written less than WRITE_EVERY_S ago
    with the same fields; the next one that is written has `repeated`, the number of those dropped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[str, tuple[float, int]] = {}  # when, and how many were dropped since
        self._lock = threading.Lock()

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if method not in LEVELS:
            return event
        key = _key(event)
        now = self._clock()
        with self._lock:
            at, dropped = self._written.pop(key, (now - WRITE_EVERY_S, 0))
            is_due = now - at >= WRITE_EVERY_S
            self._written[key] = (now, 0) if is_due else (at, dropped + 1)
            while len(self._written) > KEPT_MAX:
                del self._written[next(iter(self._written))]
        if not is_due:
            raise structlog.DropEvent
        if dropped:
            event["repeated"] = dropped
        return event


def _key(event: EventDict) -> str:
    error = sys.exc_info()[1] if event.get("exc_info") is True else None
    return repr((sorted(event.items()), error))
