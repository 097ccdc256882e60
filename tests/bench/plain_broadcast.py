"""A plain broadcast server on the `websockets` library: what the rows of sockets compare with.

    python -m bench.plain_broadcast --port 3001

A client of any path is a follower of that path. A client of /publish sends "PATH TEXT", and every
follower of the path receives the text. Prints "ready" once it listens; ends with SIGTERM.
"""

import argparse
import asyncio
import signal
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from order_engine.serving.open_files import raise_open_file_limit

CONNECTIONS_MAX = 11_000
BACKLOG = 2_048  # as uvicorn
PUBLISH = "/publish"
GREETING = '{"type":"following"}'  # the engine sends the order's history first


async def run(port: int) -> None:
    followers: dict[str, set[ServerConnection]] = defaultdict(set)

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        if path == PUBLISH:
            async for message in connection:
                assert isinstance(message, str)
                topic, _, text = message.partition(" ")
                broadcast(followers[topic], text)
            return
        followers[path].add(connection)
        try:
            await connection.send(GREETING)
            await connection.wait_closed()
        finally:
            followers[path].discard(connection)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(handle, "127.0.0.1", port, compression=None, backlog=BACKLOG):
        print("ready", flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    raise_open_file_limit(CONNECTIONS_MAX)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the engine
        runner.run(run(parser.parse_args().port))


if __name__ == "__main__":
    main()
