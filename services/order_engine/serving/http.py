"""HTTP connections with the bounds that uvicorn lacks.

They override members of uvicorn that are not documented, so its version is pinned exactly.
"""

import asyncio
import socket
from http import HTTPStatus
from typing import Any

import httptools
from starlette.types import ASGIApp, Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from order_engine.serving import bounds, metrics
from order_engine.serving.addresses import plain_address
from order_engine.serving.heads import (
    HEAD_TOO_LARGE,
    Refused,
    check_head,
    offers_websocket,
)
from order_engine.serving.held_head import HeldHead
from order_engine.serving.peers import Peers
from order_engine.serving.unread import UnreadTimer

TOO_MANY = HTTPStatus.SERVICE_UNAVAILABLE

HEADERS = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"


class HttpConnection(HttpToolsProtocol):
    """Ends when a head is late or too large, and when the client does not read its answers.

    The first head must arrive within HEAD_WITHIN_S of opening, a later one within that time of its
    first byte; between requests uvicorn's keep-alive timeout applies. An answer sent before its
    request is complete is the last. A client that ends its side gets the answers to its complete
    requests. An offer to change to another protocol than WebSocket is ignored. The connection
    counts for its address until it ends or becomes a WebSocket: the application counts those.
    """

    _address = ""
    _head_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _is_in_head = False
    _is_last_answer = False
    _is_half_closed = False
    _ignores_upgrade = False
    _head_bytes = 0

    def __init__(self, *args: Any, connections_max: int, peers: Peers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections_max = connections_max
        self._peers = peers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._unread = UnreadTimer(transport)
        transport.set_write_buffer_limits(high=bounds.UNSENT_BYTES_MAX)
        kernel = transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.KERNEL_BUFFER_BYTES)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bounds.KERNEL_BUFFER_BYTES)
        if self.client:
            self.client = (plain_address(self.client[0]), self.client[1])
        self._address = self._peers.enter(self.client[0] if self.client else "")
        if len(self.connections) > self._connections_max:
            self._refuse(Refused(TOO_MANY, bound="connections"))
        elif self._peers.has_too_many(self._address):
            self._refuse(Refused(TOO_MANY, bound="address"))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self.pipeline.clear()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _leave(self) -> None:
        self._peers.leave(self._address)
        self._address = ""
        self._unread.stop()
        self._stop_head_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()

    # Requests

    def data_received(self, data: bytes) -> None:
        """Parses in pieces, to refuse a head before all of it is in memory."""
        try:
            for start in range(0, len(data), bounds.PIECE_BYTES):
                is_over = self._linger_timer is not None or self._is_half_closed
                if is_over or self.transport.is_closing():
                    return
                self._parse(data[start : start + bounds.PIECE_BYTES])
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except Refused as refused:
            self._refuse(refused)
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, Refused) else Refused(HTTPStatus.BAD_REQUEST))

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._ignores_upgrade:
                raise
            self._begin_again_without_upgrade()
            [head_end] = upgrade.args
            self._parse(piece[head_end:])
            return
        if self._is_in_head:
            self._head_bytes += len(piece)
            too_many_lines = len(self.headers) > bounds.HEAD_LINES_MAX
            if too_many_lines or self._head_bytes > bounds.HEAD_BYTES_MAX:
                raise Refused(HEAD_TOO_LARGE, bound="head")

    def _begin_again_without_upgrade(self) -> None:
        """Parses the head again: the parser takes what follows an offer for another protocol."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._ignores_upgrade = False
        self._unset_keepalive_if_required()
        self._is_in_head, self._head_bytes = True, 0
        self._expect_head()

    def on_headers_complete(self) -> None:
        if len(self.headers) > bounds.HEAD_LINES_MAX:
            raise Refused(HEAD_TOO_LARGE, bound="head")
        check_head(self.headers, version=self.parser.get_http_version())
        self._is_in_head = False
        self._unset_keepalive_if_required()  # the answer to the request before may have set it
        if len(self.pipeline) >= bounds.PIPELINED_MAX:
            if not self.transport.is_closing():
                metrics.CONNECTIONS_ENDED.labels(bound="requests").inc()
            self.transport.abort()
            return
        self._stop_head_timer()
        is_offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        self._ignores_upgrade = is_offered and not self._should_upgrade()
        if self._ignores_upgrade:
            return
        super().on_headers_complete()
        if not is_offered:
            self.headers = []  # where uvicorn adds trailers

    def on_message_complete(self) -> None:
        if not self._ignores_upgrade:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        is_possible = self._should_upgrade_to_ws() and self.parser.get_http_version() == "1.1"
        is_get = self.parser.get_method() == b"GET"
        return is_possible and is_get and offers_websocket(self.headers)

    def handle_websocket_upgrade(self) -> None:
        """Leaves the other protocols of a list out, as `websockets` requires."""
        others = [header for header in self.headers if header[0] != b"upgrade"]
        self.scope["headers"] = [*others, (b"upgrade", b"websocket")]
        super().handle_websocket_upgrade()

    def _upgrade(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not self._should_upgrade():
            if is_answering:
                self.cycle.keep_alive = False  # the parser takes no further request
        elif is_answering:
            self.transport.abort()  # two protocols would write to one transport
        else:
            self._leave()
            self.handle_websocket_upgrade()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(bounds.HEAD_WITHIN_S, self._end_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_late(self) -> None:
        metrics.HEADS_LATE.inc()
        self.transport.abort()

    def _refuse(self, refused: Refused) -> None:
        """Answers; when complete requests wait for their answers, these are the last."""
        if refused.bound:
            metrics.CONNECTIONS_ENDED.labels(bound=refused.bound).inc()
        if self._drop_incomplete_requests():
            self._is_half_closed = True
            self._stop_head_timer()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True  # for the application, whose answer is not sent
            self.cycle.message_event.set()
        body = str(refused).encode()
        self.transport.write(STATUS_LINE[refused.status] + HEADERS % len(body) + body)
        self._linger()

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]  # uvicorn's own types of the same
        held = HeldHead(self.transport)
        cycle.transport = held  # type: ignore[assignment]  # has what a cycle calls

        send = cycle.send

        async def send_head_with_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.holds = cycle.scope["method"] != "HEAD"  # which has no body
                if cycle.more_body:
                    headers = [*message.get("headers", []), (b"connection", b"close")]
                    await send({**message, "headers": headers})  # type: ignore[arg-type]  # as above
                    cycle.keep_alive = True  # or uvicorn would close before the client has read
                    self._is_last_answer = True
                    return
            await send(message)  # type: ignore[arg-type]  # as above

        cycle.send = send_head_with_body  # type: ignore[method-assign, assignment]  # as above
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]  # as above

    def on_response_complete(self) -> None:
        if self._is_last_answer:
            self.pipeline.clear()
        elif self._is_half_closed and not self.pipeline:
            self.transport.close()
        super().on_response_complete()
        if self._is_last_answer:
            self._linger()
        elif self.transport.is_closing():
            self._unread.start()

    def _linger(self) -> None:
        """Closes, and ignores what arrives: the kernel drops an answer when input is unread."""
        if self.transport.is_closing() or self._linger_timer is not None:
            return
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        self.transport.write_eof()
        self.transport.resume_reading()
        self._linger_timer = self.loop.call_later(bounds.LINGER_WITHIN_S, self.transport.abort)

    # Each of these may leave a transport that waits for its client to read.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._unread.stop()
        super().resume_writing()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes either
        """Returns True while complete requests wait for their answers."""
        if not self._is_half_closed:
            self._is_half_closed = self._drop_incomplete_requests()
            self._stop_head_timer()
            self._unread.start()
        return self._is_half_closed

    def _drop_incomplete_requests(self) -> bool:
        """Returns whether a complete one is left. Only the last can be incomplete."""
        if self.cycle is None or self.cycle.response_complete or self._is_last_answer:
            return False
        if self.cycle.more_body and self.pipeline:
            self.pipeline.popleft()
            return True
        return not self.cycle.more_body

    def shutdown(self) -> None:
        super().shutdown()
        self._unread.start()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._unread.start()
