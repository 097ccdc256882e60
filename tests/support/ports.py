"""TCP ports for the servers of tests, never given to two processes at once.

Another process may take a port that the kernel chose (bind to 0, then close) before the server
binds it. These ports lie below the kernel's own range instead, in blocks of 100: a process owns a
block for as long as it holds the UDP port of the block's first number.
"""

import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

BLOCK_SIZE = 100
BLOCKS = range(20_000, 30_000, BLOCK_SIZE)  # neither ephemeral ports nor node ports of Kubernetes


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens; given out again after 99 others at the earliest."""
    for port in islice(_ports(), BLOCK_SIZE):
        if _is_free(port):
            return port
    raise AssertionError("every port of this process is in use")


@cache
def _ports() -> Iterator[int]:
    return _own_ports()


def _own_ports() -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as owner:
        first = next(first for first in random.sample(BLOCKS, len(BLOCKS)) if _binds(owner, first))
        yield from cycle(range(first, first + BLOCK_SIZE))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return _binds(probe, port)


def _binds(endpoint: socket.socket, port: int) -> bool:
    try:
        endpoint.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
