"""Bodies that arrive slowly, in pieces, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from order_engine.gateway.endpoints import bodies
from support.evidence import rows
from support.gateways import running_gateway
from support.stores import Databases, Stores, fresh_databases
from support.waiting import wait_until

BODY = b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"1","slippageTolerance":0.5}'
WITHIN_S = 20

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def gateway(databases: Databases, stores: Stores) -> Iterator[str]:
    with running_gateway(databases, stores) as address:
        yield address


@asynccontextmanager
async def a_request(address: str, *, body_bytes: int, path: str) -> AsyncIterator[Wire]:
    """A connection on which the head of a request was sent, but not its body."""
    host, port = address.split(":")
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {body_bytes}\r\n\r\n".encode()
        )
        yield reader, writer
        writer.close()


async def answered(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The status and the code of a problem."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    [size] = [line.split(":")[1] for line in head.splitlines() if line.startswith("content-length")]
    return int(head.split()[1]), json.loads(await reader.readexactly(int(size)))["code"]


@pytest.mark.parametrize("path", ["/api/orders/execute", "/api/keys"])
@pytest.mark.parametrize("first", [b"", BODY[:10]])
def test_a_body_that_does_not_arrive_in_time_is_refused(
    gateway: str, monkeypatch: pytest.MonkeyPatch, path: str, first: bytes
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.2)

    async def work() -> tuple[int, str]:
        async with a_request(gateway, body_bytes=len(BODY), path=path) as (reader, writer):
            writer.write(first)
            return await answered(reader)

    assert asyncio.run(work()) == (408, "slow_body")


def test_a_body_may_arrive_byte_by_byte(gateway: str) -> None:
    async def work() -> bytes:
        async with a_request(gateway, body_bytes=len(BODY), path="/api/orders/execute") as (
            reader,
            writer,
        ):
            for byte in BODY:
                writer.write(bytes([byte]))
                await writer.drain()
            return await reader.readline()

    assert asyncio.run(work()).split()[1] == b"201"


def test_a_body_that_is_too_large_is_refused_before_it_is_complete(gateway: str) -> None:
    async def work() -> tuple[int, str]:
        async with a_request(gateway, body_bytes=10**9, path="/api/orders/execute") as (
            reader,
            writer,
        ):
            writer.write(b" " * 20_000)
            return await answered(reader)

    assert asyncio.run(work()) == (413, "body_too_large")


def test_a_client_that_disconnects_during_its_request_is_not_counted_as_an_error(
    gateway: str, databases: Databases
) -> None:
    def counted() -> float:
        labels = {"route": "/api/orders/execute", "method": "POST"}
        return sum(
            sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "order_engine_http_requests_total"
            and labels.items() <= sample.labels.items()
        )

    def failed() -> float:
        return REGISTRY.get_sample_value("order_engine_http_requests_total", FAILED) or 0.0

    placed, before, failures = count(databases), counted(), failed()

    async def work() -> None:
        async with a_request(gateway, body_bytes=len(BODY), path="/api/orders/execute") as (
            _,
            writer,
        ):
            writer.write(BODY[:-1])
            await writer.drain()

    asyncio.run(work())
    wait_until(lambda: counted() > before, timeout_s=10)

    assert failed() == failures
    assert count(databases) == placed


FAILED = {"route": "/api/orders/execute", "method": "POST", "code": "500"}


def count(databases: Databases) -> int:
    [row] = rows(databases.orders_url, "SELECT count(*) AS count FROM orders")
    return int(row["count"])
