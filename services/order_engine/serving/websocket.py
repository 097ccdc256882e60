"""WebSocket connections with the bounds that uvicorn lacks; see `http_connections`."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode

from order_engine.serving import bounds, metrics
from order_engine.serving.addresses import plain_address

WIRE = "wire"  # the key of the WebSocketConnection in the `state` of an application's scope


def text_frame(text: str) -> bytes:
    """A message as a server sends it: one frame, not masked, not compressed (RFC 6455, section 5.2)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class _Messages:
    """What was received: as asyncio.Queue, whose deques take 3 KB of each connection."""

    __slots__ = ("_messages", "_waiter")

    def __init__(self) -> None:
        self._messages: list[ASGIReceiveEvent] = []
        self._waiter: asyncio.Future[None] | None = None  # the application, which is one task

    def put_nowait(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def empty(self) -> bool:
        return not self._messages

    async def get(self) -> ASGIReceiveEvent:
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._messages.pop(0)


class _Writable:
    """Whether the transport takes more: as asyncio.Event, without its deque."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = True
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = ()

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        while not self._is_set:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            await waiter


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Keeps little for a client that does not read, and always ends.

    uvicorn closes a transport once everything is sent, which a client that does not read can delay
    without limit; here it is cut off after CLOSE_WITHIN_S. A message whose fragments take longer
    than MESSAGE_WITHIN_S is closed with 1008; within a single frame a client cannot answer pings,
    and the ping timeout ends it. The kernel's buffers are bounded by the HttpConnection.
    """

    # For an application that writes encoded frames to the transport, past `send`: whether it takes
    # more, and what is called once it does.
    is_writable = True
    on_writable: Callable[[], None] | None = None

    _held_pong = b""
    _cut_off_timer: asyncio.TimerHandle | None = None
    _message_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = _Messages()  # type: ignore[assignment]  # has what uvicorn calls
        self.writable = _Writable()  # type: ignore[assignment]  # as above

    def forget_request(self) -> None:
        """Frees the head of the handshake, once the application has read it."""
        self.request.headers.clear()  # its parser keeps the request
        self.request = self.response = None  # type: ignore[assignment]
        self.scope["headers"].clear()  # type: ignore[attr-defined]  # a list

    @property
    def is_open(self) -> bool:
        return not (self.close_sent or self.disconnected or self.transport.is_closing())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        if self.client:
            self.client = (plain_address(self.client[0]), self.client[1])

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the kernel has not accepted yet."""
        return self.transport.get_write_buffer_size()

    def finish(self, code: int, *, within_s: float = bounds.CLOSE_WITHIN_S) -> None:
        """Sends a close frame without waiting; cuts off when no answer comes in time."""
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
        if self.read_paused:  # or the client's close frame would not be read
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(within_s, self._cut_off)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._cut_off_timer, self._message_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        self.scope["state"][WIRE] = self
        await super().run_asgi()
        self._cut_off_if_closing()

    async def send(self, message: Any) -> None:
        """Raises ClientDisconnected after this side has sent its close frame, too."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    # What the client sends

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()
        if self.frames and self._message_timer is None:
            self._message_timer = self.loop.call_later(bounds.MESSAGE_WITHIN_S, self._end_message)

    def _refuse_handshake(self) -> None:
        """Answers a head that `websockets` cannot parse, which uvicorn does not."""
        answer = b"".join(self.conn.data_to_send())
        self.transport.write(answer or STATUS_LINE[400] + b"connection: close\r\n\r\n")
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.close()
        self._cut_off_if_closing()

    def send_receive_event_to_app(self) -> None:
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None
        super().send_receive_event_to_app()

    def _end_message(self) -> None:
        self._message_timer = None
        if self.read_paused:  # the application is late, not the client
            self._message_timer = self.loop.call_later(bounds.MESSAGE_WITHIN_S, self._end_message)
        elif not self.close_sent:
            metrics.CONNECTIONS_ENDED.labels(bound="message").inc()
            self.finish(1008)

    def handle_ping(self) -> None:
        """While the client does not read, keeps the answer to its last ping (RFC 6455, 5.5.3)."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        elif pong:
            self._held_pong = pong

    def pause_writing(self) -> None:
        self.is_writable = False
        super().pause_writing()

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._held_pong and not self.close_sent and not self.transport.is_closing():
            self.transport.write(self._held_pong)
        self._held_pong = b""
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    # Each of these may leave a transport that waits for its client to read.

    def eof_received(self) -> None:
        super().eof_received()
        self._start_cut_off_timer()

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
        if self.transport.is_closing() and not self.disconnected:
            self._start_cut_off_timer()

    def _start_cut_off_timer(self) -> None:
        if self._cut_off_timer is None:
            self._cut_off_timer = self.loop.call_later(bounds.CLOSE_WITHIN_S, self._cut_off)

    def _cut_off(self) -> None:
        metrics.SOCKETS_CUT_OFF.inc()
        self.transport.abort()
