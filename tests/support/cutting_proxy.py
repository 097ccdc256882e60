"""A proxy to Redis that cuts a connection between two commands, or between a command and its reply."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum

import hiredis
from redis.connection import parse_url

Command = Sequence[bytes]
Where = Callable[[Command], bool]


class Loss(Enum):
    REQUEST = "the request never arrives"
    REPLY = "it is done, and the reply is lost"


class CuttingProxy:
    """Forwards each command, also of a pipeline, until the one to cut at."""

    def __init__(self, redis_url: str) -> None:
        self._server = parse_url(redis_url)  # type: ignore[no-untyped-call]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.passed: list[Command] = []  # in the order of the server
        self.was_cut = threading.Event()
        self._turn = threading.Lock()
        self._wires: list[_Wire] = []
        self._cut: tuple[Loss, Where] | None = None
        self._for_good = False
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, loss: Loss, where: Where, *, for_good: bool = False) -> None:
        """Loses the first command for which `where` is true, or its reply, and ends its connection.

        `for_good` ends the other connections too and refuses new ones, until `restore`.
        """
        self.was_cut.clear()
        self._cut, self._for_good = (loss, where), for_good

    def restore(self) -> None:
        self._is_closed = False

    def has_passed(self, name: bytes) -> bool:
        return self.count_passed(name) > 0

    def count_passed(self, name: bytes) -> int:
        return sum(command[0] == name for command in self.passed)

    def end(self) -> None:
        self._is_closed = True
        _end(self._listener)
        for wire in self._wires:
            wire.end()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_closed:
                    _end(client)
                    continue
                wire = _Wire(client, self._connect())
                self._wires.append(wire)
                threading.Thread(target=wire.carry_requests, args=(self,), daemon=True).start()
                threading.Thread(target=wire.carry_replies, args=(self,), daemon=True).start()

    def verdict(self, command: Command) -> Loss | None:
        """The loss of this command, or None. Called once for each command, in order."""
        with self._turn:
            if self._is_closed:
                return Loss.REQUEST
            loss, where = self._cut or (None, _nowhere)
            if loss is not None and where(command):
                self._cut = None
                self._is_closed = self._for_good
            else:
                loss = None
            if loss is not Loss.REQUEST:
                self.passed.append(command)
            return loss

    def note_cut(self) -> None:
        if self._is_closed:
            for wire in self._wires:
                wire.end()
        self.was_cut.set()

    def _connect(self) -> socket.socket:
        if path := self._server.get("path"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            return server
        return socket.create_connection((self._server["host"], self._server["port"]))


class _Wire:
    """One connection: its two ends, and the number of the reply to lose."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client = client
        self._server = server
        self._asked = 0
        self._lost: int | None = None

    def carry_requests(self, proxy: CuttingProxy) -> None:
        commands = hiredis.Reader()
        with suppress(OSError):
            while data := self._client.recv(65_536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    loss = proxy.verdict(command)
                    if loss is Loss.REQUEST:
                        self.end()
                        proxy.note_cut()
                        return
                    self._asked += 1
                    if loss is Loss.REPLY:
                        self._lost = self._asked
                    self._server.sendall(hiredis.pack_command(tuple(command)))
                    if loss is Loss.REPLY:
                        return
        self.end()

    def carry_replies(self, proxy: CuttingProxy) -> None:
        replies, answered = hiredis.Reader(replyError=Exception), 0
        with suppress(OSError):
            while data := self._server.recv(65_536):
                replies.feed(data)
                while replies.gets() is not False:
                    answered += 1
                if self._lost is None:
                    self._client.sendall(data)
                elif answered >= self._lost:
                    self.end()
                    proxy.note_cut()
                    return
        self.end()

    def end(self) -> None:
        _end(self._server)
        _end(self._client)


@contextmanager
def cutting_proxy(redis_url: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(redis_url)
    try:
        yield proxy
    finally:
        proxy.end()


def is_call(command: Command, name: bytes, *words: bytes) -> bool:
    """True when the command has this name and all the words among its arguments."""
    return command[0].upper() == name and all(word in command[1:] for word in words)


def _nowhere(_: Command) -> bool:
    return False


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
