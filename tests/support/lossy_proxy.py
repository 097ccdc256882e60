"""A TCP proxy that can lose the next request or the next reply, or hold replies back."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from psycopg2.extensions import parse_dsn

from support.cutting_proxy import Loss as Loss


class LossyProxy:
    """Forwards everything except for one loss at a time."""

    def __init__(self, server_url: str) -> None:
        self._server = parse_dsn(server_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: Loss | None = None
        self._held = threading.Event()
        self._open = threading.Event()
        self._open.set()
        parts = urlsplit(server_url)
        credentials, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}", query=""))
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next(self, loss: Loss) -> None:
        """Loses the next request of any client, or its reply, and ends the connection."""
        self._armed = loss

    @contextmanager
    def holding_replies(self) -> Iterator[threading.Event]:
        """While open, requests pass and replies wait; the event is set once one is held."""
        self._held.clear()
        self._open.clear()
        try:
            yield self._held
        finally:
            self._open.set()

    def close(self) -> None:
        """Refuses new connections; open ones stay."""
        self._open.set()
        _end(self._listener)  # with only a close, the waiting accept would take one more

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = connected(self._server)
        replies = threading.Thread(target=self._replies, args=(server, client), daemon=True)
        replies.start()
        with suppress(OSError):
            while data := client.recv(65_536):
                loss, self._armed = self._armed, None
                if loss is Loss.REQUEST:
                    break
                if loss is Loss.REPLY:
                    self._lose_reply(server, client, data)
                    return
                server.sendall(data)
        _end(server)
        _end(client)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if not self._open.is_set():
                    self._held.set()
                    self._open.wait()
                client.sendall(data)
        _end(client)

    def _lose_reply(self, server: socket.socket, client: socket.socket, data: bytes) -> None:
        """Ends the client's side first, so that the reply is lost."""
        _end(client)
        server.sendall(data)
        with suppress(OSError):
            server.settimeout(10)
            while server.recv(65_536):  # the server has replied
                server.shutdown(socket.SHUT_WR)
        _end(server)


def connected(server: Mapping[str, str]) -> socket.socket:
    """A connection to the server of a parsed PostgreSQL URL."""
    host, port = server.get("host", "localhost"), server.get("port", "5432")
    if host.startswith("/"):
        end = socket.socket(socket.AF_UNIX)
        end.connect(f"{host}/.s.PGSQL.{port}")
        return end
    return socket.create_connection((host, int(port)))


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
