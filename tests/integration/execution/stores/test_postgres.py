"""Waits for a server that does not answer: they end in time, and at once when the reader closes."""

import asyncio
import socket
import time
from collections.abc import Iterator

import psycopg2
import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.stores.postgres import CLOSE_CHECK_S, CONNECT_TIMEOUT_S, Reader, connect
from support.lossy_proxy import LossyProxy
from support.stores import Databases

NOISE_S = 0.5


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a server that accepts connections and sends nothing, like a frozen one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://user:password@127.0.0.1:{listener.getsockname()[1]}/orders"


def test_connecting_to_a_silent_server_fails_within_the_connect_timeout(silent_url: str) -> None:
    begun = time.monotonic()
    with pytest.raises(psycopg2.OperationalError, match="no answer within 2 s"):
        connect(silent_url, application_name="test")

    assert time.monotonic() - begun < CONNECT_TIMEOUT_S + CLOSE_CHECK_S + NOISE_S


def test_closing_a_reader_ends_its_reads(databases: Databases) -> None:
    proxy = LossyProxy(databases.orders_url)
    reader = Reader(proxy.url, application_name="test", connections_max=2)

    async def work() -> float:
        await reader.rows("SELECT 1 AS one", {})
        with proxy.holding_replies() as held:
            reading = asyncio.create_task(reader.rows("SELECT 1 AS one", {}))
            await asyncio.to_thread(held.wait, 10)
            begun = time.monotonic()
            await asyncio.to_thread(reader.close)
            took_s = time.monotonic() - begun
        with pytest.raises(StoreUnavailable):
            await reading
        return took_s

    took_s = asyncio.run(work())
    proxy.close()

    assert took_s < 2 * CLOSE_CHECK_S + NOISE_S
