"""All processes of PostgreSQL are stopped at once, and continue later.

The kernel still accepts connections and bytes, so nothing is refused: calls just get no reply.
PostgreSQL executes them when it continues, long after the clients have given up.
"""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from order_engine.client import EngineClient
from order_engine.client.errors import EngineUnavailable
from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.fleet import Deployable, Fleet, running_fleet
from support.stores import Databases, emptied, fresh_databases, running_stores
from support.trading import SOL_USDC, Trading
from support.waiting import wait_until

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

NAMES = ("gateway", "ws-gateway", "order-worker", "order-worker#2")
ORDER = b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"1.5","slippageTolerance":1}'
SETTINGS = {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "QUEUE_MAX_CONCURRENCY": "10"}
DRAIN_S = 20.0
CLOSE_S = 10.0  # the rest of the chart's grace period, after which the process is killed
REQUESTS_S = 10.0  # how long a stopping gateway waits for requests in progress
STARTED_UNFINISHED = (
    "SELECT id FROM orders WHERE lease_epoch > 0 AND status NOT IN ('confirmed', 'failed')"
)
AT_STATUS = "SELECT count(*) AS count FROM orders WHERE status = %s"
LOST = 'order_engine_commit_repeats_total{reason="lost"'
EVERY_ORDER_S = 120


class PostgresProcess:
    """A PostgreSQL server that a test can freeze, with all its backends."""

    def __init__(self, data: Path) -> None:
        self._postmaster = int((data / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within the context, none of its processes runs; the connections stay open."""
        os.kill(self._postmaster, signal.SIGSTOP)  # first, so that it starts no further backend
        stopped = [self._postmaster, *self._backends()]
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            wait_until(
                lambda: all(map(_is_stopped, stopped)), timeout_s=5, what="all processes stopped"
            )
            yield
            assert all(map(_is_stopped, stopped))
        finally:
            # the postmaster last, because it reaps backends that have ended
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        command = ["ps", "-o", "pid=", "--ppid", str(self._postmaster)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]


def _is_stopped(pid: int) -> bool:
    """Also true for a process that has ended and is not reaped yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"T", "Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[PostgresProcess, Databases, str]]:
    """A separate server, because the server of the other tests must not freeze."""
    with (
        tempfile.TemporaryDirectory(prefix="order-engine-tests-") as directory,
        running_stores("embedded", Path(directory)) as stores,
        fresh_databases(stores) as databases,
    ):
        process = PostgresProcess(Path(directory) / "postgres" / "data")
        yield process, databases, emptied(stores.redis_url)


@pytest.fixture
def postgres(server: tuple[PostgresProcess, Databases, str]) -> PostgresProcess:
    return server[0]


@pytest.fixture
def fleet(server: tuple[PostgresProcess, Databases, str], tmp_path: Path) -> Iterator[Fleet]:
    _, databases, redis_url = server
    with running_fleet(databases, redis_url, tmp_path, SETTINGS, NAMES) as fleet:
        yield fleet


def statuses_are_mixed(fleet: Fleet) -> bool:
    """True while some orders are being routed and others wait for the chain."""
    url = fleet.databases.orders_url
    mixed = (OrderStatus.ROUTING, OrderStatus.SUBMITTED)
    return all(rows(url, AT_STATUS, [status])[0]["count"] for status in mixed)


def has_lost_postgres(worker: Deployable) -> bool:
    return worker.metric(LOST) > 0 and not worker.is_ready()


async def place_with_retries(engine: EngineClient, key: str) -> UUID:
    """Places one order; repeats the request with the same key while the engine is unavailable."""
    form: dict[str, Any] = dict(SOL_USDC, idempotency_key=key)
    async with asyncio.timeout(EVERY_ORDER_S):
        while True:
            try:
                placed = await engine.place_order(**form)
                return placed.order_id
            except EngineUnavailable:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("frozen_s", [10, 20])
def test_a_frozen_postgres_neither_loses_nor_repeats_anything(
    postgres: PostgresProcess, fleet: Fleet, frozen_s: int
) -> None:
    trading = Trading()
    workers = [fleet["order-worker"], fleet["order-worker#2"]]

    async def trade() -> None:
        async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
            ids = await trading.place(engine, 60)
            tasks.create_task(trading.follow(engine, ids, clients=1, within_s=EVERY_ORDER_S))
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(statuses_are_mixed, fleet):
                    await asyncio.sleep(0.01)
            with postgres.frozen():
                until = time.monotonic() + frozen_s
                placing = [
                    tasks.create_task(place_with_retries(engine, f"frozen-{frozen_s}-{n}"))
                    for n in range(10)
                ]
                async with asyncio.timeout(frozen_s + 30):
                    while time.monotonic() < until or not any(map(has_lost_postgres, workers)):
                        await asyncio.sleep(0.1)
                assert not any(task.done() for task in placing)
            placed_late = list(await asyncio.gather(*placing))
            trading.acknowledged += placed_late
            assert len(set(placed_late)) == len(placed_late)
            tasks.create_task(
                trading.follow(engine, placed_late, clients=1, within_s=EVERY_ORDER_S)
            )

    asyncio.run(trade())

    [orders] = rows(fleet.databases.orders_url, "SELECT count(*) AS count FROM orders")
    assert orders["count"] >= len(trading.acknowledged)
    assert trading.violations(fleet.databases) == []


class PostInFlight:
    """A POST of an order that the gateway has begun to read; the response is read later."""

    def __init__(self, gateway: Deployable) -> None:
        head = (
            "POST /api/orders/execute HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(ORDER)}\r\nExpect: 100-continue\r\n\r\n"
        )
        self._socket = socket.create_connection(("127.0.0.1", gateway.ports["PORT"]), 30)
        self._socket.sendall(head.encode())
        assert self._socket.recv(1_024).startswith(b"HTTP/1.1 100")
        self._socket.sendall(ORDER)

    def status(self) -> int:
        with self._socket:
            return int(self._socket.recv(65_536).split()[1])


@pytest.mark.parametrize("requests", [1, 20])
def test_a_stopping_gateway_responds_with_503_while_postgres_is_frozen(
    postgres: PostgresProcess, fleet: Fleet, requests: int
) -> None:
    gateway = fleet["gateway"]
    assert PostInFlight(gateway).status() == 201

    with postgres.frozen():
        posts = [PostInFlight(gateway) for _ in range(requests)]
        began = time.monotonic()
        code = gateway.terminate()
        took_s = time.monotonic() - began
        statuses = [post.status() for post in posts]

    assert code == 0
    assert took_s < REQUESTS_S + CLOSE_S
    assert set(statuses) == {503}


def test_a_stopping_ws_gateway_does_not_wait_for_a_frozen_postgres(
    postgres: PostgresProcess, fleet: Fleet
) -> None:
    with postgres.frozen():
        began = time.monotonic()
        code = fleet["ws-gateway"].terminate()
        took_s = time.monotonic() - began

    assert code == 0
    assert took_s < REQUESTS_S + CLOSE_S


@pytest.mark.parametrize("when", ["immediately", "after_it_lost_postgres"])
def test_a_stopping_worker_does_not_wait_for_a_frozen_postgres(
    postgres: PostgresProcess, fleet: Fleet, when: str
) -> None:
    trading = Trading()
    worker = fleet["order-worker"]
    took_s = 0.0
    code: int | None = None

    async def trade() -> None:
        nonlocal took_s, code
        await asyncio.to_thread(fleet["order-worker#2"].terminate)
        async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
            ids = await trading.place(engine, 60)
            tasks.create_task(trading.follow(engine, ids, clients=1, within_s=EVERY_ORDER_S))
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(statuses_are_mixed, fleet):
                    await asyncio.sleep(0.01)
            with postgres.frozen():
                if when == "after_it_lost_postgres":
                    await asyncio.to_thread(
                        wait_until,
                        lambda: has_lost_postgres(worker),
                        timeout_s=30,
                        what="a worker that lost Postgres",
                    )
                began = time.monotonic()
                code = await asyncio.to_thread(worker.terminate)
                took_s = time.monotonic() - began
            await asyncio.to_thread(fleet.start, ["order-worker"])

    asyncio.run(trade())

    assert code == 0
    assert took_s < DRAIN_S + CLOSE_S
    assert trading.violations(fleet.databases) == []


def test_a_stopping_worker_finishes_the_orders_that_it_has_started(fleet: Fleet) -> None:
    trading = Trading()
    url = fleet.databases.orders_url

    async def trade() -> None:
        async with fleet.client() as engine:
            await trading.place(engine, 60)
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(statuses_are_mixed, fleet):
                await asyncio.sleep(0.01)

    asyncio.run(trade())
    code = [fleet[name].terminate() for name in ("order-worker", "order-worker#2")]

    assert code == [0, 0]
    assert rows(url, STARTED_UNFINISHED, []) == []
    assert rows(url, AT_STATUS, [OrderStatus.PENDING])[0]["count"] > 0
