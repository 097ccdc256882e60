"""An HTTP proxy that knows hosts which no DNS server knows."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ForwardProxy:
    """Leads the names in `hosts` to addresses of this machine; `asked` has the request lines.

    With `refuses_with` it answers each request with this status; with `user`, those without
    these credentials with 407.
    """

    hosts: Mapping[str, str]
    refuses_with: int | None = None
    user: str = ""
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode()
            self.asked.append(line)
            if status := self._refusal(head):
                text = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                writer.write(text.encode())
            else:
                await self._carry(line, head, reader, writer)
        writer.close()

    def _refusal(self, head: bytes) -> int | None:
        expected = base64.b64encode(self.user.encode())
        if self.user and b"Proxy-Authorization: Basic " + expected not in head:
            return 407
        return self.refuses_with

    async def _carry(
        self,
        line: str,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        method, target, _ = line.split()
        authority = target.removeprefix("http://").split("/")[0]
        host, _, port = self.hosts[authority].rpartition(":")
        answers, requests = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            requests.write(head)
        await asyncio.gather(_copy(reader, requests), _copy(answers, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def forward_proxy(
    hosts: Mapping[str, str] | None = None, *, refuses_with: int | None = None, user: str = ""
) -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy(hosts=hosts or {}, refuses_with=refuses_with, user=user)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxy.url = f"http://{f'{user}@' if user else ''}127.0.0.1:{port}"
        yield proxy
