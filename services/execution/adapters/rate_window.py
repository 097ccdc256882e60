"""How many jobs may start: at most `limit` in any 60 s, exact over all processes that share Redis.

A start is its token's moment. Jobs of the queue take theirs inside the claim script; the class
below is for starts that come another way, and for the time without Redis, when each process keeps
the limit by itself. A window that Redis has lost is not taken for an empty one: starts wait until
it has been united with those that PostgreSQL remembers.
"""

import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.resources import files

import redis

from execution import metrics

WINDOW_S = 60


class RateWindow:
    """`limit` starts in any 60 s; 0 lifts it. `key` names the window in Redis.

    A shared window is one that must be united with PostgreSQL before it counts. Every call but
    `own_room` and `note_own_starts` may raise redis.RedisError.
    """

    def __init__(self, client: redis.Redis, *, key: str, limit: int, shared: bool = False) -> None:
        self.key = key
        self.limit = limit
        self.marker_key = f"{key}:known" if shared else ""
        self._client = client
        self._take = client.register_script(lua("take_tokens"))
        self._settle = client.register_script(lua("settle_tokens"))
        self._unite = client.register_script(lua("unite"))
        self._own_starts: deque[float] = deque(maxlen=limit or 1)

    def take(self, wanted: int) -> Sequence[str]:
        """Tokens for up to `wanted` starts, to be settled with once it is known which there were."""
        prefix = f"token-{uuid.uuid4().hex}"
        keys = [self.key, self.marker_key]
        taken = int(self._take(keys=keys, args=[wanted, self.limit, WINDOW_S, prefix]))
        return [f"{prefix}-{n}" for n in range(1, taken + 1)]

    def settle(self, tokens: Sequence[str], *, started: Sequence[str]) -> None:
        """Names the tokens after the jobs that started, and gives back the rest."""
        if tokens:
            self._settle(keys=[self.key], args=[len(started), *started, *tokens])
            left_over = max(len(tokens) - len(started), 0)
            metrics.TOKENS_REFUNDED.labels(reason="no_such_order").inc(left_over)

    def unite(self, ages_s: Mapping[str, float]) -> None:
        """Enters starts by job id and age; the window counts from then on."""
        pairs: list[str | float] = [value for entry in ages_s.items() for value in entry]
        self._unite(keys=[self.key, self.marker_key], args=[WINDOW_S, *pairs])

    def forget(self) -> None:
        """Marks the window as not known: starts were made that it has not seen."""
        self._client.delete(self.marker_key)

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
