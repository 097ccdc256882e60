"""Places for work in one process, shared by all the ways in which work comes."""

import asyncio
from collections import deque


class Slots:
    """Counted places. Whoever waits is served in turn, so that no way in starves another."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.free = count
        self._waiting: deque[tuple[asyncio.Future[int], int]] = deque()

    async def take(self, most: int, *, timeout_s: float | None = None) -> int:
        """Takes up to `most` free places, at least one; 0 when none came free in time."""
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, most))
        self._serve()
        try:
            await asyncio.wait({turn}, timeout=timeout_s)
        except asyncio.CancelledError:
            if turn.done():
                self.give_back(turn.result())
            turn.cancel()
            raise
        if turn.done():
            # places that came free since this turn was called would else make a claim of their own
            return turn.result() + self._take_now(most - turn.result())
        turn.cancel()
        return 0

    def give_back(self, count: int) -> None:
        self.free += count
        self._serve()

    def _take_now(self, most: int) -> int:
        taken = 0 if self._waiting else min(most, self.free)
        self.free -= taken
        return taken

    def _serve(self) -> None:
        while self.free and self._waiting:
            turn, most = self._waiting.popleft()
            if not turn.cancelled():
                taken = min(most, self.free)
                self.free -= taken
                turn.set_result(taken)
