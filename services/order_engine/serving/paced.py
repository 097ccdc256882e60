"""Reading so that nobody else waits: a little of what has come is taken in one turn of the loop.

A read may bring thousands of frames or requests, and the loop may read again before others have
their turn. Here the rest is kept, and no more is read until it has been taken.
"""

import asyncio
import time

PIECE_BYTES = 1_024
TURN_S = 0.002


class Paced:
    """What the protocols of uvicorn lack; they say what to do with a piece, and when to wait."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    _kept = b""
    _turn: asyncio.Handle | None = None

    def take(self, piece: bytes) -> None:
        raise NotImplementedError

    def is_waiting(self) -> bool:
        """Whether nothing can be taken for now; `go_on` is to be called afterwards."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        if not self._kept and len(data) <= PIECE_BYTES and not self.is_waiting():
            self.take(data)
            return
        self._kept += data
        if self._turn is None:
            self._take_turn()

    def go_on(self) -> None:
        if self.transport.is_closing():
            return
        if not self._kept:
            self.transport.resume_reading()
        elif self._turn is None:
            self._turn = self.loop.call_soon(self._take_turn)

    def drop_kept(self) -> None:
        self._kept = b""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _take_turn(self) -> None:
        was_pending, self._turn = self._turn is not None, None
        until = time.perf_counter() + TURN_S
        while self._kept and not self.is_waiting() and time.perf_counter() < until:
            piece, self._kept = self._kept[:PIECE_BYTES], self._kept[PIECE_BYTES:]
            self.take(piece)
        if self.transport.is_closing():
            self.drop_kept()
        elif self._kept:
            self.transport.pause_reading()
            if not self.is_waiting() and self._turn is None:
                self._turn = self.loop.call_soon(self._take_turn)
        elif was_pending and not self.is_waiting():
            self.transport.resume_reading()
