"""Rate limits: requests a minute for each address and each API key.

Each process counts alone, so that no request waits for a shared counter.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from order_engine.execution import metrics
from order_engine.gateway.contract.problems import TooManyRequests

WINDOW_S = 60

Limit = Literal["address", "key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What is left of a limit: `remaining` requests for the next `reset_s` seconds."""

    who: Limit
    limit: int
    remaining: int
    reset_s: int


class RequestLimits:
    """Requests a minute for each address and each key; 0 means no limit.

    A sliding window counter: the requests of the current minute, and of the minute before it those
    that would fall into the last 60 s if they had been spread evenly. `clock` returns seconds.
    """

    def __init__(
        self, *, per_address: int, per_key: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits: Mapping[Limit, int] = {"address": per_address, "key": per_key}
        self._clock = clock
        self._minute = 0
        self._counts: dict[tuple[Limit, str], int] = {}
        self._counts_before: Mapping[tuple[Limit, str], int] = {}

    def take(self, who: Limit, name: str, quotas: list[Quota]) -> None:
        """Counts one request and appends what is left to `quotas`; raises TooManyRequests."""
        limit = self._limits[who]
        if limit == 0:
            return
        minute, into_s = divmod(self._clock(), WINDOW_S)
        self._turn_to(int(minute))
        key = who, name
        share_before = 1 - into_s / WINDOW_S
        count = self._counts.get(key, 0)
        taken = int(self._counts_before.get(key, 0) * share_before) + count
        is_allowed = taken < limit
        if is_allowed:
            self._counts[key] = count + 1
        quota = Quota(
            who=who,
            limit=limit,
            remaining=max(limit - taken - 1, 0),
            reset_s=max(math.ceil(WINDOW_S - into_s), 1),
        )
        quotas.append(quota)
        if not is_allowed:
            metrics.REQUESTS_LIMITED.labels(who=who).inc()
            raise TooManyRequests(
                f"too many requests (at most {limit} a minute for each {who})",
                retry_after_s=quota.reset_s,
            )

    def _turn_to(self, minute: int) -> None:
        if minute != self._minute:
            self._counts_before = self._counts if minute == self._minute + 1 else {}
            self._counts = {}
            self._minute = minute


def quota_headers(quotas: Sequence[Quota]) -> list[tuple[bytes, bytes]]:
    """The RateLimit fields of draft-ietf-httpapi-ratelimit-headers."""
    policy = ", ".join(f'"{quota.who}";q={quota.limit};w={WINDOW_S}' for quota in quotas)
    left = ", ".join(f'"{quota.who}";r={quota.remaining};t={quota.reset_s}' for quota in quotas)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]
