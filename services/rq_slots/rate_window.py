"""How many jobs may start: at most `limit` in any 60 s, exact over all processes that share Redis.

A start is its token's moment. Jobs of the queue take theirs inside the claim script; the class
below is for starts that come another way. A window that Redis has lost is not taken for an empty
one: starts wait until it has been united with those that PostgreSQL remembers.

Beneath it each process counts its own starts, whatever Redis says of them: that is the limit while
Redis is away, and the floor that nobody who can write there lifts.
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
    """What one call may start by the process's own count: `reserved` of the `room` there was.

    `wait_s` is the time until there is one more, where there is none.
    """

    reserved: int
    available: int
    wait_s: float = 0.0


class RateWindow:
    """`limit` starts in any 60 s; 0 lifts it. `key` names the window in Redis.

    A shared window is one that must be united with PostgreSQL before it counts. Every call but those
    about own starts may raise redis.RedisError; those may come from any thread. `clock` is in seconds.
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
        self.key = key
        self.limit = limit
        self.marker_key = f"{key}:known" if shared else ""
        self._client = client
        self._take = client.register_script(lua("take_tokens"))
        self._settle = client.register_script(lua("settle_tokens"))
        self._merge_known_starts = client.register_script(lua("merge_known_starts"))
        self._clock = clock
        self._local_starts: deque[float] = deque()
        self._local_reserved = 0
        self._local_lock = threading.Lock()

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

    def merge_known_starts(self, ages_s: Mapping[str, float]) -> None:
        """Enters starts by job id and age; the window counts from then on."""
        pairs: list[str | float] = [value for entry in ages_s.items() for value in entry]
        self._merge_known_starts(keys=[self.key, self.marker_key], args=[WINDOW_S, *pairs])

    def forget(self) -> None:
        """Marks the window as not known: starts were made that it has not seen."""
        if self.marker_key:
            self._client.delete(self.marker_key)

    def reserve_local(self, wanted: int) -> LocalAllowance:
        """Room for up to `wanted` starts, to be settled with once it is known how many there were."""
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

    def settle_local(self, own: LocalAllowance, *, started: int) -> float:
        """Counts the starts from now on, which is later than they were; returns their moment."""
        moment = self._clock()
        if self.limit:
            with self._local_lock:
                self._local_reserved -= own.reserved
                self._local_starts.extend([moment] * started)
        return moment

    def refund_local(self, moments: Sequence[float]) -> None:
        """Forgets starts, each by its moment, that turned out to be none."""
        with self._local_lock:
            for moment in moments:
                with suppress(ValueError):  # it has left the window
                    self._local_starts.remove(moment)
