"""The rate limit: at most `limit` starts in any 60 s, over all processes that share Redis.

Each start has a token, scored by its time. The claim script takes the tokens of the queue's jobs;
`take` and `settle` are for starts that do not come from the queue. When Redis has lost the window,
no job starts until the known starts of the last 60 s have been merged into it.

Each process also counts its own starts. This count is the limit while Redis is away, and a client
that writes to Redis cannot raise it.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis

from rq_slots import metrics
from rq_slots.scripts import lua

WINDOW_S = 60
NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAllowance:
    """The starts that the process's own count allows one call: `reserved` of `available`.

    `wait_s` is the time in seconds until one more is available, when none is.
    """

    reserved: int
    available: int
    wait_s: float = 0.0


class LocalWindow:
    """The starts of this process alone: at most `limit` in any 60 s; 0 lifts it.

    Safe to call from any thread. `clock` returns seconds.
    """

    def __init__(self, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._local_starts: deque[float] = deque()
        self._local_reserved = 0
        self._local_lock = threading.Lock()

    def reserve_local(self, wanted: int) -> LocalAllowance:
        """Reserves up to `wanted` starts. Call `settle_local` when their number is known."""
        if self.limit == 0:
            return LocalAllowance(reserved=wanted, available=NO_LIMIT)
        with self._local_lock:
            horizon = self._clock() - WINDOW_S
            while self._local_starts and self._local_starts[0] <= horizon:
                self._local_starts.popleft()
            available = self.limit - len(self._local_starts) - self._local_reserved
            reserved = max(min(wanted, available), 0)
            self._local_reserved += reserved
            wait_s = (
                self._local_starts[0] - horizon if available <= 0 and self._local_starts else 0.0
            )
            return LocalAllowance(reserved=reserved, available=max(available, 0), wait_s=wait_s)

    def settle_local(self, allowance: LocalAllowance, *, started: int) -> float:
        """Counts the starts with the current time, which is later than theirs, and returns it."""
        settled_at = self._clock()
        if self.limit:
            with self._local_lock:
                self._local_reserved -= allowance.reserved
                self._local_starts.extend([settled_at] * started)
        return settled_at

    def refund_local(self, starts: Sequence[float]) -> None:
        """Removes starts that did not happen, each given by the time that `settle_local` returned."""
        with self._local_lock:
            for started_at in starts:
                with suppress(ValueError):  # it has left the window
                    self._local_starts.remove(started_at)


class RateWindow(LocalWindow):
    """`limit` starts in any 60 s, over all processes; 0 lifts it. `key` names the window in Redis.

    With `shared`, known starts must be merged before the window counts. All methods but the `_local`
    ones may raise redis.RedisError.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        key: str,
        limit: int,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(limit=limit, clock=clock)
        self.key = key
        self.marker_key = f"{key}:known" if shared else ""
        self._client = client
        self._take = client.register_script(lua("take_tokens"))
        self._settle = client.register_script(lua("settle_tokens"))
        self._merge_known_starts = client.register_script(lua("merge_known_starts"))

    def take(self, wanted: int) -> Sequence[str]:
        """Takes up to `wanted` tokens. Call `settle` when the starts are known."""
        prefix = f"token-{uuid.uuid4().hex}"
        keys = [self.key, self.marker_key]
        taken = int(self._take(keys=keys, args=[wanted, self.limit, WINDOW_S, prefix]))
        return [f"{prefix}-{n}" for n in range(1, taken + 1)]

    def settle(self, tokens: Sequence[str], *, started: Sequence[str]) -> None:
        """Names the tokens after the jobs that started, and returns the others to the window."""
        if tokens:
            self._settle(keys=[self.key], args=[len(started), *started, *tokens])
            left_over = max(len(tokens) - len(started), 0)
            metrics.TOKENS_REFUNDED.labels(reason="no_such_order").inc(left_over)

    def merge_known_starts(self, ages_s: Mapping[str, float]) -> None:
        """Adds starts, given as job id and age in seconds, and marks the window as known."""
        pairs: list[str | float] = [value for entry in ages_s.items() for value in entry]
        self._merge_known_starts(keys=[self.key, self.marker_key], args=[WINDOW_S, *pairs])

    def forget(self) -> None:
        """Marks the window as not known, because it lacks some starts."""
        if self.marker_key:
            self._client.delete(self.marker_key)
