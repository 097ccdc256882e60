"""Calls of one moment pass together, so that one query answers all of them.

PostgreSQL answers faster than clients arrive: of 2,000 that reconnect, each would find the query of
the one before done, and have one of its own. So calls wait for each other, the longer the more
there are. A lone call passes at once, and who comes in a stream that does not end waits little: a
rush is over soon, and what is not is the day's work.
"""

import asyncio

CALM_S = 0.05
QUIET_EACH_S = 0.004
QUIET_MAX_S = 0.25
RUSH_S = 30.0
RUSH_WAIT_MAX_S = 2.0
WAIT_MAX_S = 0.05
REST_S = 1.0  # without any call: what comes then may be another rush


class Turns:
    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._first_at = 0.0
        self._leave_at = 0.0
        self._passed_at = float("-inf")
        self._busy_since = float("-inf")

    async def turn(self) -> None:
        """Returns when the group of this call passes."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiting:
            self._first_at = now
            if now - self._passed_at > REST_S:
                self._busy_since = now
            if now - self._passed_at > CALM_S:
                self._passed_at = now
                return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        self._leave_at = leave_at(
            busy_since=self._busy_since,
            first_at=self._first_at,
            last_at=now,
            count=len(self._waiting),
        )
        if len(self._waiting) == 1:
            loop.call_at(self._leave_at, self._pass)
        await mine

    def _pass(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._leave_at:  # others have come since
            loop.call_at(self._leave_at, self._pass)
            return
        self._passed_at = loop.time()
        group, self._waiting = self._waiting, []
        for call in group:
            if not call.done():
                call.set_result(None)


def leave_at(*, busy_since: float, first_at: float, last_at: float, count: int) -> float:
    """When a group of `count` leaves, if nobody joins any more; in seconds, like the moments."""
    wait_max_s = RUSH_WAIT_MAX_S if first_at - busy_since < RUSH_S else WAIT_MAX_S
    return min(last_at + min(QUIET_EACH_S * count, QUIET_MAX_S), first_at + wait_max_s)
