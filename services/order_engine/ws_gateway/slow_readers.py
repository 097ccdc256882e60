"""Whether a client reads what it is sent, judged by looks at what has left for it."""

from collections.abc import Callable
from dataclasses import dataclass

LOOK_EVERY_S = 0.5
SLOW_LOOKS = 4  # counted in looks, not seconds: a process that stood still itself blames nobody
STUCK_LOOKS = 20
WAITING_FRAMES_MAX = 64
WAITING_BYTES_MAX = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a client has coming and the transport has not taken."""

    frames: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`mark` is any value that changes when something leaves for the client; None while nothing
    waits to. `looks` counts those since when it has not changed.
    """

    mark: object | None = None
    looks: int = 0

    def at(self, mark: object | None) -> "Progress":
        same = mark is not None and mark == self.mark
        return Progress(mark=mark, looks=self.looks + 1 if same else 0)

    def broken_bound(self, waiting: Callable[[], Waiting]) -> str | None:
        """The bound that a client has broken by not reading: frames, bytes, or time."""
        if self.looks < SLOW_LOOKS:
            return None
        found = waiting()
        if found.frames > WAITING_FRAMES_MAX:
            return "frames"
        if found.size_bytes > WAITING_BYTES_MAX:
            return "bytes"
        return "time" if self.looks >= STUCK_LOOKS else None
