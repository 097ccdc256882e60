"""Detects clients that do not read, by checking regularly what was sent to them.

`SocketRegistry.close_slow_readers` runs the checks and closes such sockets with 4408.
"""

from collections.abc import Callable
from dataclasses import dataclass

CHECK_EVERY_S = 0.5
SLOW_CHECKS = 4  # checks, not seconds: a process that was paused itself must not blame clients
STUCK_CHECKS = 20
WAITING_FRAMES_MAX = 64
WAITING_BYTES_MAX = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits to be sent to a client and is not in the transport yet."""

    frames: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`mark` changes whenever something is sent to the client; it is None while nothing waits.
    `checks` counts the checks since it last changed.
    """

    mark: object | None = None
    checks: int = 0

    def at(self, mark: object | None) -> "Progress":
        same = mark is not None and mark == self.mark
        return Progress(mark=mark, checks=self.checks + 1 if same else 0)

    def exceeded_bound(self, waiting: Callable[[], Waiting]) -> str | None:
        """The bound that the client exceeds by not reading: frames, bytes or time; None for none."""
        if self.checks < SLOW_CHECKS:
            return None
        found = waiting()
        if found.frames > WAITING_FRAMES_MAX:
            return "frames"
        if found.size_bytes > WAITING_BYTES_MAX:
            return "bytes"
        return "time" if self.checks >= STUCK_CHECKS else None


NO_PROGRESS = Progress()
