"""A TCP proxy that records every byte that clients send."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

Address = tuple[str, int]


class RecordingProxy:
    """Listens on this machine; carries bytes both ways until it is closed."""

    def __init__(self, server: Address) -> None:
        self.sent: list[bytearray] = []  # by connection, in the order in which they came
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                record = bytearray()
                self.sent.append(record)
                self._ends += [client, server]
                for ends in ((client, server, record), (server, client, None)):
                    threading.Thread(target=_carry, args=ends, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, record: bytearray | None) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            if record is not None:
                record += data
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def recording_proxy(server: Address) -> Iterator[RecordingProxy]:
    proxy = RecordingProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
