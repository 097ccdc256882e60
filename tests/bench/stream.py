"""The client's side of a WebSocket that reads text frames and answers pings, with little work per frame."""

import asyncio
import base64
import os
import struct
from typing import cast

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
LAST = 0x80  # the bit of a frame that is the last of its message, and of a length with a mask
NO_MASK = bytes(4)  # a mask of zeros leaves the payload as it is


class Stream(asyncio.Protocol):
    """A class below says what to do with frames. Servers do not mask them (RFC 6455)."""

    def __init__(self, host: str, path: str) -> None:
        self._host = host
        self._path = path
        self._buffer = b""
        self._is_open = False

    def opened(self) -> None:
        """Called once the server has accepted the stream."""

    def text_received(self, payload: bytes) -> None:
        """Called with each text frame."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base class
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"a stream was refused: {self._buffer[:200].decode()}")
            self._buffer, self._is_open = self._buffer[end + 4 :], True
            self.opened()
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self.text_received(payload)
            elif opcode == PING:
                self._transport.write(bytes((LAST | PONG, LAST | len(payload))) + NO_MASK + payload)
            elif opcode == CLOSE:
                self._transport.close()

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 127, 2
        if length == 126:
            if len(buffer) < 4:
                return None
            (length,), start = struct.unpack_from("!H", buffer, 2), 4
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[0] & 15, buffer[start : start + length]
