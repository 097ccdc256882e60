"""Connections as our servers keep them: uvicorn's protocols, and the bounds that those lack."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

from execution import metrics

HEAD_WITHIN_S = 10.0
UNSENT_BYTES_MAX = 16_384
KERNEL_BUFFER_BYTES = 65_536  # or it grows to megabytes for a client that does not read
CLOSE_WITHIN_S = 10.0
WIRE = "wire"  # where an application finds the WebSocketConnection in its scope's state


class HttpConnection(HttpToolsProtocol):
    """Ends when the head of a request takes too long: the first counts from opening, the others
    from their first byte (until then uvicorn's keep-alive bound holds).
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._await_nothing()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await_nothing()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_WITHIN_S, self._end_late)

    def _await_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end_late(self) -> None:
        metrics.HEADS_LATE.inc()
        self.transport.abort()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A socket that never holds much of what its client does not read, and that always ends.

    uvicorn ends a transport when all is sent, which a client that does not read puts off for ever;
    here it is cut off then. The application may look at `unsent_bytes`, and close with `finish`.
    """

    _held_pong = b""
    _cut: asyncio.TimerHandle | None = None

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    def finish(self, code: int, *, within_s: float = CLOSE_WITHIN_S) -> None:
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
        if self.read_paused:  # or its answer would not be read
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(within_s, self._cut_off)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        kernel = self.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

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
        if self.writable.is_set():
            self.transport.write(pong)
        elif pong:
            self._held_pong = pong

    def resume_writing(self) -> None:
        if self._held_pong and not self.transport.is_closing():
            self.transport.write(self._held_pong)
        self._held_pong = b""
        super().resume_writing()

    # Each of these may leave a transport that waits for its client to read.

    def eof_received(self) -> None:
        super().eof_received()
        self._cut = self._cut or self.loop.call_later(CLOSE_WITHIN_S, self._cut_off)

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
            self._cut = self.loop.call_later(CLOSE_WITHIN_S, self._cut_off)

    def _cut_off(self) -> None:
        metrics.SOCKETS_CUT_OFF.inc()
        self.transport.abort()
