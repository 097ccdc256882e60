"""The slots of a process, which all its sources of work share."""

import asyncio
from collections import deque


class Slots:
    """A count of slots. Waiters are served in order, so that no source of work starves another."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.free = count
        self._waiting: deque[tuple[asyncio.Future[int], int]] = deque()

    async def take(self, most: int, *, timeout_s: float | None = None) -> int:
        """Takes up to `most` free slots, at least one; 0 when none was free within `timeout_s`."""
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
            # slots freed since then are added, to save a claim of their own
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
