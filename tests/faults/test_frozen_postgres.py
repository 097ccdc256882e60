"""PostgreSQL stops dead, all its processes at once, and goes on later as if no time had passed.

Its kernel still takes connections and bytes, so nothing is refused: there is only no answer. What
was sent to it is done when it thaws, long after those who sent it have given up.
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
CLOSE_S = 10.0  # then a process is killed: the grace period of the chart
REQUESTS_S = 10.0  # how long a gateway that stops waits for the requests in hand
BEGUN = "SELECT id FROM orders WHERE lease_epoch > 0 AND status NOT IN ('confirmed', 'failed')"
AT_STATUS = "SELECT count(*) AS count FROM orders WHERE status = %s"
LOST = 'order_engine_commit_repeats_total{reason="lost"'
EVERY_ORDER_S = 120


class PostgresProcess:
    """A server with all its backends, to be frozen and thawed."""

    def __init__(self, data: Path) -> None:
        self._postmaster = int((data / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While open, none of its processes runs; the connections stay."""
        os.kill(self._postmaster, signal.SIGSTOP)  # first, so that it starts no further one
        stopped = [self._postmaster, *self._backends()]
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: all(map(_is_stopped, stopped)), timeout_s=5, what="all stopped")
            yield
            assert all(map(_is_stopped, stopped))
        finally:
            for pid in reversed(stopped):  # the postmaster last: it would reap those that ended
                os.kill(pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        command = ["ps", "-o", "pid=", "--ppid", str(self._postmaster)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]


def _is_stopped(pid: int) -> bool:
    """True of one that had just ended, too: nobody has reaped it yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"T", "Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[PostgresProcess, Databases, str]]:
    """A server of one's own: the other tests' must not freeze."""
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


def has_given_up(worker: Deployable) -> bool:
    return worker.metric(LOST) > 0 and not worker.is_ready()


async def place_through(engine: EngineClient, key: str) -> UUID:
    """Places one order, and again with the same key for as long as the engine is away."""
    async with asyncio.timeout(EVERY_ORDER_S):
        while True:
            try:
                return (await engine.place_order(**SOL_USDC, idempotency_key=key)).order_id  # type: ignore[arg-type]
            except EngineUnavailable:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("frozen_s", [10, 20])
def test_a_frozen_postgres_loses_nothing_and_does_nothing_twice(
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
                    tasks.create_task(place_through(engine, f"frozen-{frozen_s}-{n}"))
                    for n in range(10)
                ]
                async with asyncio.timeout(frozen_s + 30):
                    while time.monotonic() < until or not any(map(has_given_up, workers)):
                        await asyncio.sleep(0.1)
                assert not any(task.done() for task in placing)
            late = list(await asyncio.gather(*placing))
            trading.acknowledged += late
            assert len(set(late)) == len(late)
            tasks.create_task(trading.follow(engine, late, clients=1, within_s=EVERY_ORDER_S))

    asyncio.run(trade())

    [orders] = rows(fleet.databases.orders_url, "SELECT count(*) AS count FROM orders")
    assert orders["count"] >= len(trading.acknowledged)
    assert trading.violations(fleet.databases) == []


class PostInFlight:
    """A POST of an order that the gateway has begun to read; its answer is awaited later."""

    def __init__(self, gateway: Deployable) -> None:
        head = (
            "POST /api/orders/execute HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
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
def test_a_stopping_gateway_answers_that_the_store_is_away(
    postgres: PostgresProcess, fleet: Fleet, requests: int
) -> None:
    gateway = fleet["gateway"]
    assert PostInFlight(gateway).status() == 201

    with postgres.frozen():
        posts = [PostInFlight(gateway) for _ in range(requests)]
        begun = time.monotonic()
        code = gateway.terminate()
        took_s = time.monotonic() - begun
        statuses = [post.status() for post in posts]

    assert code == 0
    assert took_s < REQUESTS_S + CLOSE_S
    assert set(statuses) == {503}


def test_a_stopping_ws_gateway_does_not_wait_for_a_frozen_postgres(
    postgres: PostgresProcess, fleet: Fleet
) -> None:
    with postgres.frozen():
        begun = time.monotonic()
        code = fleet["ws-gateway"].terminate()
        took_s = time.monotonic() - begun

    assert code == 0
    assert took_s < REQUESTS_S + CLOSE_S


@pytest.mark.parametrize("told", ["at_once", "once_it_has_given_up"])
def test_a_stopping_worker_does_not_wait_for_a_frozen_postgres(
    postgres: PostgresProcess, fleet: Fleet, told: str
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
                if told == "once_it_has_given_up":
                    await asyncio.to_thread(
                        wait_until, lambda: has_given_up(worker), timeout_s=30, what="it given up"
                    )
                begun = time.monotonic()
                code = await asyncio.to_thread(worker.terminate)
                took_s = time.monotonic() - begun
            await asyncio.to_thread(fleet.start, ["order-worker"])

    asyncio.run(trade())

    assert code == 0
    assert took_s < DRAIN_S + CLOSE_S
    assert trading.violations(fleet.databases) == []


def test_a_stopping_worker_finishes_the_orders_in_hand(fleet: Fleet) -> None:
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
    assert rows(url, BEGUN, []) == []
    assert rows(url, AT_STATUS, [OrderStatus.PENDING])[0]["count"] > 0
