import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from psycopg2.extensions import parse_dsn


class Wire:
    """A proxy to PostgreSQL that can hold back answers while it still forwards queries.

    After the first hold, new connections are never answered, so that a test observes only the
    connections that were open before.
    """

    def __init__(self, server_url: str) -> None:
        self.url = ""
        self.held_bytes = 0
        self._server = parse_dsn(server_url)
        self._free = asyncio.Event()
        self._free.set()
        self._has_held = False
        self._never = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Future[tuple[None, None]]] = set()

    def hold(self) -> None:
        self._has_held = True
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards between one client and the server until either closes."""
        free = self._never if self._has_held else self._free
        answers, questions = await self._server_ends()
        self._ends |= {writer, questions}
        carried = asyncio.gather(self._ask(reader, questions), self._answer(answers, writer, free))
        self._carrying.add(carried)
        await carried

    async def cut(self) -> None:
        """Closes all connections."""
        self.release()
        self._never.set()
        for end in self._ends:
            end.close()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await asyncio.gather(*(end.wait_closed() for end in self._ends), return_exceptions=True)

    async def _server_ends(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._server.get("host", "localhost"), self._server.get("port", "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, free: asyncio.Event
    ) -> None:
        while data := await reader.read(65_536):
            if free is self._free:
                self.held_bytes += len(data)
            await free.wait()
            if free is self._free:
                self.held_bytes -= len(data)
            writer.write(data)
        writer.close()


@asynccontextmanager
async def a_wire(server_url: str) -> AsyncIterator[Wire]:
    """A proxy to the server; `wire.url` is its address while the context is open."""
    wire = Wire(server_url)
    async with await asyncio.start_server(wire.carry, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        parts = urlsplit(server_url)
        credentials, at, _ = parts.netloc.rpartition("@")
        netloc = f"{credentials}{at}127.0.0.1:{port}"
        wire.url = urlunsplit(parts._replace(netloc=netloc, query=""))
        try:
            yield wire
        finally:
            await wire.cut()
