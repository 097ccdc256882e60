"""How many jobs may start: at most `limit` in any window, exact over all processes that share Redis.

A start is its token's moment. Jobs of the queue take theirs inside the claim script; the class
below is for starts that come another way, and for the time without Redis, when each process keeps
the limit by itself.
"""

import time
import uuid
from collections import deque
from importlib.resources import files

import redis

WINDOW_S = 60


class RateWindow:
    """`limit` starts in any 60 s; 0 lifts it. `key` names the window in Redis."""

    def __init__(self, client: redis.Redis, *, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit
        self._client = client
        self._take = client.register_script(lua("take_tokens"))
        self._own_starts: deque[float] = deque(maxlen=limit or 1)

    def take(self, wanted: int) -> tuple[int, list[str]]:
        """Tokens for up to `wanted` starts: how many, and their members, to give back unused ones."""
        if self.limit == 0:
            return wanted, []
        prefix = f"w-{uuid.uuid4().hex}"
        taken = int(self._take(keys=[self.key], args=[wanted, self.limit, WINDOW_S, prefix]))
        return taken, [f"{prefix}-{n}" for n in range(1, taken + 1)]

    def give_back(self, members: list[str]) -> None:
        if members:
            self._client.zrem(self.key, *members)

    def own_room(self) -> int:
        """What the limit still allows this process, counting its own starts alone."""
        if self.limit == 0:
            return 1_000_000
        horizon = time.monotonic() - WINDOW_S
        while self._own_starts and self._own_starts[0] <= horizon:
            self._own_starts.popleft()
        return self.limit - len(self._own_starts)

    def note_own_starts(self, count: int) -> None:
        if self.limit:
            self._own_starts.extend([time.monotonic()] * count)


def lua(name: str) -> str:
    """The text of one of the scripts in `lua/`."""
    return (files(__package__) / "lua" / f"{name}.lua").read_text()
