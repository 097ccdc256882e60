"""WebSockets as our servers keep them: uvicorn's protocol, and the bounds that it lacks."""

import asyncio
from typing import Any

from execution.paced import Paced
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

from order_engine.serving import bounds, metrics

WIRE = "wire"  # where an application finds the WebSocketConnection in its scope's state


class WebSocketConnection(Paced, WebSocketsSansIOProtocol):
    """A socket that never holds much of what its client does not read, and that always ends.

    Frames that bring no message (pings, pongs, fragments, all after our close) are few in a second:
    beyond that it closes with 1008, reads no more, and is cut off soon. So it does with a message
    whose fragments take too long; within a frame a client cannot answer pings, which ends it.

    uvicorn ends a transport when all is sent, which a client that does not read puts off for ever;
    here it is cut off then. The application may look at `unsent_bytes`, and close with `finish`.
    """

    _held_pong = b""
    _cut: asyncio.TimerHandle | None = None
    _unshaken: asyncio.TimerHandle | None = None
    _fragmentary: asyncio.TimerHandle | None = None
    _is_deaf = False
    _idle_frames = 0
    _idle_since = 0.0

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    def finish(self, code: int, *, within_s: float = bounds.CLOSE_WITHIN_S) -> None:
        """Closes without waiting for the client to read: cut off when it does not answer in time."""
        if self.close_sent or self.transport.is_closing():
            return
        try:
            self.conn.send_close(code)
        except InvalidState:
            self.transport.abort()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.read_paused = False  # or its answer would not be read
        self.go_on()
        self.close_timer = self.loop.call_later(within_s, self._cut_off)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Its buffers are bounded already: it has been an HttpConnection until now."""
        super().connection_made(transport)
        self._unshaken = self.loop.call_later(bounds.HEAD_WITHIN_S, self._end_unshaken)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._cut, self._unshaken, self._fragmentary):
            if timer is not None:
                timer.cancel()
        self.drop_kept()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            super().data_received(data)
        else:  # the head, whole, from the HttpConnection
            self.take(data)

    def take(self, piece: bytes) -> None:
        WebSocketsSansIOProtocol.data_received(self, piece)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()
        if self.frames and self._fragmentary is None:
            self._await_rest()

    def is_waiting(self) -> bool:
        return self.read_paused or self._is_deaf

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.go_on()
        return message

    def send_receive_event_to_app(self) -> None:
        if self._fragmentary is not None:
            self._fragmentary.cancel()
            self._fragmentary = None
        if not self.close_sent or self._may_idle():
            super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= bounds.FRAGMENTS_MAX:
            self._end_flood("frames")
        elif self._may_idle():
            super().handle_cont(event)

    def handle_pong(self, event: Frame) -> None:
        if self._may_idle():
            super().handle_pong(event)

    async def run_asgi(self) -> None:
        self.scope["state"][WIRE] = self
        await super().run_asgi()
        self._cut_off_if_closing()

    async def send(self, message: Any) -> None:
        """Raises ClientDisconnected, too, where the closing has begun on this side."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def handle_ping(self) -> None:
        """Answers once the client reads again, and then its last ping alone (RFC 6455, 5.5.3)."""
        pong = b"".join(self.conn.data_to_send())
        if not self._may_idle():
            return
        if self.writable.is_set():
            self.transport.write(pong)
        elif pong:
            self._held_pong = pong

    def resume_writing(self) -> None:
        if self._held_pong and not self.close_sent and not self.transport.is_closing():
            self.transport.write(self._held_pong)
        self._held_pong = b""
        super().resume_writing()

    def _may_idle(self) -> bool:
        """Whether this frame, which brings no message, is not one too many."""
        now = self.loop.time()
        if now - self._idle_since >= 1:
            self._idle_since, self._idle_frames = now, 0
        self._idle_frames += 1
        if self._idle_frames > bounds.IDLE_FRAMES_PER_S_MAX:
            self._end_flood("frames")
        return not self._is_deaf

    def _await_rest(self) -> None:
        self._fragmentary = self.loop.call_later(bounds.MESSAGE_WITHIN_S, self._end_fragmentary)

    def _end_fragmentary(self) -> None:
        if self.is_waiting() or self._kept:  # it is we who do not read on
            self._await_rest()
        else:
            self._end_flood("message")

    def _end_flood(self, bound: str) -> None:
        if self._is_deaf:
            return
        metrics.CONNECTIONS_ENDED.labels(bound=bound).inc()
        if self.close_sent:
            self.transport.abort()
        else:
            self.finish(1008, within_s=bounds.FLOOD_CLOSE_WITHIN_S)
        self._is_deaf = True
        self.drop_kept()
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def _end_unshaken(self) -> None:
        if not self.handshake_complete:
            metrics.HEADS_LATE.inc()
            self.transport.abort()

    def _refuse_handshake(self) -> None:
        """Answers as `websockets` does, or else so: uvicorn would not."""
        answer = b"".join(self.conn.data_to_send())
        self.transport.write(answer or STATUS_LINE[400] + b"connection: close\r\n\r\n")
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.close()
        self._cut_off_if_closing()

    # Each of these may leave a transport that waits for its client to read.

    def eof_received(self) -> None:
        super().eof_received()
        self._cut = self._cut or self.loop.call_later(bounds.CLOSE_WITHIN_S, self._cut_off)

    def shutdown(self) -> None:
        super().shutdown()
        self._cut_off_if_closing()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._cut_off_if_closing()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._cut_off_if_closing()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_off_if_closing()

    def _cut_off_if_closing(self) -> None:
        if self.transport.is_closing() and not self.disconnected and self._cut is None:
            self._cut = self.loop.call_later(bounds.CLOSE_WITHIN_S, self._cut_off)

    def _cut_off(self) -> None:
        metrics.SOCKETS_CUT_OFF.inc()
        self.transport.abort()
