import asyncio


class HeldHead:
    """A transport that writes the head of an answer together with the first part of its body."""

    __slots__ = ("_head", "_transport", "holds")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.holds = False  # the next write is a head
        self._head = b""
        self._transport = transport

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():  # an earlier answer of a lost connection
            self._head = b""
        elif self.holds:
            self._head, self.holds = data, False
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        if self._head:
            self.holds = False
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
