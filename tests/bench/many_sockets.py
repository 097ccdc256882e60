"""The client of the rows of sockets: one process that opens many streams and counts their frames.

    python -m bench.many_sockets --url ws://127.0.0.1:3001 --each 100 /api/orders/ID/stream ...

The first `--each` sockets follow the first path, and so on. It reads commands from stdin and answers
each with one line once it is done:

    open 2000       2,000 sockets are open, and each has received its first text
    read 500000     500,000 frames have been read since the start, first texts not counted
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import uvloop

from bench.load import endpoint
from bench.stream import Stream
from order_engine.serving.open_files import raise_open_file_limit

OPENING_MAX = 100  # handshakes at a time
FRAME_START = b'{"orderId"'  # other texts are pings and greetings


class Counts:
    """Sockets that have received their first text, and the frames read after it."""

    def __init__(self) -> None:
        self.open = 0
        self.frames = 0
        self._changed = asyncio.Event()

    def change(self, *, opened: int = 0, frames: int = 0) -> None:
        self.open += opened
        self.frames += frames
        self._changed.set()

    async def until(self, *, opened: int = 0, frames: int = 0) -> None:
        while self.open < opened or self.frames < frames:
            self._changed.clear()
            await self._changed.wait()


class CountingStream(Stream):
    def __init__(self, host: str, path: str, counts: Counts) -> None:
        super().__init__(host, path)
        self._counts = counts
        self._has_text = False

    def text_received(self, payload: bytes) -> None:
        if not self._has_text:
            self._has_text = True
            self._counts.change(opened=1)
        elif payload.startswith(FRAME_START):
            self._counts.change(frames=1)

    def connection_lost(self, exc: Exception | None) -> None:
        raise SystemExit(f"the server closed a stream: {exc}")


async def run(url: str, paths: Sequence[str], *, each: int) -> None:
    loop, address, counts = asyncio.get_running_loop(), urlsplit(url), Counts()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    connected = 0
    while line := await commands.readline():
        command, number = line.decode().split()
        if command == "read":
            await counts.until(frames=int(number))
        while command == "open" and connected < int(number):
            path = paths[connected // each]
            await loop.create_connection(
                lambda path=path: CountingStream(address.netloc, path, counts),  # type: ignore[misc]
                *endpoint(url),
            )
            connected += 1
            await counts.until(opened=connected - OPENING_MAX)
        if command == "open":
            await counts.until(opened=connected)
        print(command, number, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--each", type=int, required=True)
    parser.add_argument("paths", nargs="+")
    given = parser.parse_args()
    raise_open_file_limit(given.each * len(given.paths))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(given.url, given.paths, each=given.each))


if __name__ == "__main__":
    main()
