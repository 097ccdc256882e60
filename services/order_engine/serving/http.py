"""Connections that speak HTTP, as our servers keep them: uvicorn's protocol, and what it lacks."""

import asyncio
import socket
from typing import Any

import httptools
from execution.paced import Paced
from execution.refusals import BAD, TOO_LARGE, TOO_MANY, refusal
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from order_engine.serving import bounds, metrics
from order_engine.serving.peers import Peers


class HeadTooLarge(Exception):
    """Raised through the parser, which then stops."""


class UpgradeWithBody(Exception):
    """Raised through the parser: it would wait for a body that no socket has."""


class _Flow(FlowControl):
    """Reading goes on where the connection says, once few enough requests wait for their turn."""

    def __init__(self, connection: "HttpConnection") -> None:
        super().__init__(connection.transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if self.read_paused and len(self._connection.pipeline) < bounds.PIPELINED_MAX:
            self.read_paused = False
            self._connection.go_on()


class HttpConnection(Paced, HttpToolsProtocol):
    """Ends when the head of a request takes too long, or is too long: the first counts from
    opening, the others from their first byte (until then uvicorn's keep-alive bound holds).

    Also ends when a client does not read its answers, and after an answer that came before the
    request was complete. What is no progress (trailers, extensions of chunks, empty lines) may be
    as long as a head. Counts for its peer until it ends or becomes a socket: the application counts
    those.
    """

    _address = ""
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _cut: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _is_in_head = True
    _is_last = False
    _is_lingering = False
    _fruitless_bytes = 0
    _lines = 0

    def __init__(self, *args: Any, connections_max: int, peers: Peers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections_max = connections_max
        self._peers = peers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=bounds.UNSENT_BYTES_MAX)
        kernel = transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.KERNEL_BUFFER_BYTES)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bounds.KERNEL_BUFFER_BYTES)
        self.flow = _Flow(self)
        self._address = self._peers.enter(self.client[0] if self.client else "")
        bound = self._bound_broken()
        if bound is not None:
            metrics.CONNECTIONS_ENDED.labels(bound=bound).inc()
            self._refuse(TOO_MANY)
            return
        self._await_head()

    def _bound_broken(self) -> str | None:
        if len(self.connections) > self._connections_max:
            return "connections"
        return "address" if self._peers.has_too_many(self._address) else None

    def _leave(self) -> None:
        self._peers.leave(self._address)
        self._address = ""

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._await_nothing()
        for timer in (self._unread, self._cut):
            if timer is not None:
                timer.cancel()
        self.drop_kept()
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in (self._running, *waiting):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    # What is read

    def data_received(self, data: bytes) -> None:
        if not self._is_lingering:
            super().data_received(data)

    def is_waiting(self) -> bool:
        return self.flow.read_paused

    def take(self, piece: bytes) -> None:
        if self.transport.is_closing():
            return
        self._fruitless_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._upgrade()
            return
        except httptools.HttpParserError as error:
            self._refuse(TOO_LARGE if isinstance(error.__context__, HeadTooLarge) else BAD)
            return
        if self._fruitless_bytes > bounds.HEAD_BYTES_MAX:
            self._refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._is_in_head, self._fruitless_bytes, self._lines = True, 0, 0
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines += 1
        if self._lines > bounds.HEAD_LINES_MAX:
            raise HeadTooLarge
        if self._is_in_head:  # else it is a trailer, which nobody asks for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._await_nothing()
        self._unset_keepalive_if_required()  # an answer to the request before may have set it
        self._is_in_head, self._fruitless_bytes, self._lines = False, 0, 0
        if self.parser.should_upgrade() and self._should_upgrade() and self._has_body():
            raise UpgradeWithBody
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._fruitless_bytes = 0
        super().on_body(body)

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
            for name, value in self.headers
        )

    def _upgrade(self) -> None:
        self.drop_kept()
        if self._should_upgrade() and self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # its answer would go into the middle of another
        elif self._should_upgrade():
            self.transport.resume_reading()
            self.handle_websocket_upgrade()
            self._leave()
        elif self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the parser goes no further

    def _refuse(self, status: int) -> None:
        """Answers so, or only ends where this would go into the middle of another answer."""
        self._await_nothing()
        if status == TOO_LARGE:
            metrics.CONNECTIONS_ENDED.labels(bound="head").inc()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self.transport.write(refusal(status))
        self._linger()

    # What is answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]  # uvicorn's own types of the same
        self._running = cycle

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_noting_the_end(message: Message) -> None:
                if message["type"] == "http.response.start" and cycle.more_body:
                    headers = [*message.get("headers", []), (b"connection", b"close")]
                    await send({**message, "headers": headers})
                    cycle.keep_alive = True  # `_linger` ends it instead
                    self._is_last = True
                    return
                await send(message)

            await app(scope, receive, send_noting_the_end)

        super()._start_asgi_task(cycle, answer)  # type: ignore[arg-type]  # as above

    def on_response_complete(self) -> None:
        if self._is_last:
            self.pipeline.clear()
        super().on_response_complete()
        if self._is_last:
            self._linger()
        self._cut_off_if_closing()

    def _linger(self) -> None:
        """Lets the client read the answer: closed at once with something unread, it were lost."""
        if self.transport.is_closing() or self._is_lingering:
            return
        self._is_lingering = True
        self._await_nothing()
        self._unset_keepalive_if_required()
        self.drop_kept()
        self.transport.write_eof()
        self.transport.resume_reading()
        self._cut = self.loop.call_later(bounds.LINGER_WITHIN_S, self.transport.abort)

    def shutdown(self) -> None:
        super().shutdown()
        self._cut_off_if_closing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._cut_off_if_closing()

    def eof_received(self) -> None:
        super().eof_received()
        if self._cut is None:
            self._cut = self.loop.call_later(bounds.CLOSE_WITHIN_S, self._end_unread)

    def _cut_off_if_closing(self) -> None:
        if self.transport.is_closing() and self.transport.get_write_buffer_size() and not self._cut:
            self._cut = self.loop.call_later(bounds.CLOSE_WITHIN_S, self._end_unread)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_unread(None)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _look_at_unread(self, before: int | None) -> None:
        left = self.transport.get_write_buffer_size()
        if left == before:
            self._end_unread()
        else:
            self._unread = self.loop.call_later(bounds.UNREAD_WITHIN_S, self._look_at_unread, left)

    def _end_unread(self) -> None:
        metrics.CONNECTIONS_ENDED.labels(bound="unread").inc()
        self.transport.abort()

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(bounds.HEAD_WITHIN_S, self._end_late)

    def _await_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end_late(self) -> None:
        self._late = None
        if self.flow.read_paused:  # it is we who do not read on
            self._await_head()
            return
        metrics.HEADS_LATE.inc()
        self.transport.abort()
