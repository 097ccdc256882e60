"""HTTP as it is on the wire: what a test sends is what it wrote, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

WITHIN_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


class RawConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end_sending(self) -> None:
        """Half-closes the connection: nothing more is sent, answers can still be read."""
        self._writer.write_eof()

    async def answer(self) -> Answer:
        """The next answer; its body has a Content-Length, or none."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status=int(first.split()[1]), headers=headers, body=body.decode())

    async def rest(self) -> bytes:
        """All bytes until the server ends the connection."""
        received = b""
        with suppress(ConnectionError):
            while data := await self._reader.read(65_536):
                received += data
        return received


@asynccontextmanager
async def raw_connection(address: str) -> AsyncIterator[RawConnection]:
    """A connection to `host:port`, for at most WITHIN_S."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield RawConnection(reader, writer)
        finally:
            writer.close()


async def answers_to(address: str, requests: bytes, *, count: int = 1) -> Sequence[Answer]:
    """The answers to requests that are sent on one new connection."""
    async with raw_connection(address) as connection:
        await connection.send(requests)
        return [await connection.answer() for _ in range(count)]
