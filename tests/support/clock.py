from datetime import datetime, timedelta

from support.builders import NOON


class Clock:
    """A clock that a test sets. It starts at NOON."""

    def __init__(self) -> None:
        self._now = NOON

    def __call__(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
