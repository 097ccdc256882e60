"""A server that dies like PostgreSQL does: last words for the client, whose request is still unread."""

import selectors
import socket
import struct
import threading
from urllib.parse import urlsplit, urlunsplit

from psycopg2.extensions import parse_dsn

from support.lossy_proxy import connected


def fatal(message: str) -> bytes:
    """An ErrorResponse that ends a session (PostgreSQL documentation, "Message Formats")."""
    fields = f"SFATAL\0VFATAL\0C57P01\0M{message}\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


class DyingServer:
    """Forwards one connection to a real server until it stops reading."""

    def __init__(self, server_url: str) -> None:
        self._server = connected(parse_dsn(server_url))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake, self._woken = socket.socketpair()
        parts = urlsplit(server_url)
        credentials, at, _ = parts.netloc.rpartition("@")
        address = f"{credentials}{at}127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(parts._replace(netloc=address, query=""))
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def stop_reading(self) -> None:
        """Requests stay unread from now on."""
        self._wake.send(b"!")
        self._thread.join()

    def die(self, last_words: bytes) -> None:
        """Sends `last_words`, and a reset because a request is unread."""
        self._client.sendall(last_words)
        self._client.close()

    def close(self) -> None:
        for end in (self._client, self._server, self._listener, self._wake, self._woken):
            end.close()

    def _forward(self) -> None:
        self._client, _ = self._listener.accept()
        others = {self._client: self._server, self._server: self._client}
        with selectors.DefaultSelector() as ends:
            for end in (self._client, self._server, self._woken):
                ends.register(end, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in ends.select()}
                if self._woken in ready:
                    return
                for end, other in others.items():
                    if end in ready:
                        other.sendall(end.recv(65_536))
