"""Connections on the event loop: waits that end in time, and a pool of reads with bounds."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import uvloop
from psycopg2.extensions import make_dsn, parse_dsn

from order_engine.execution.domain.errors import Overloaded, StoreUnavailable
from order_engine.execution.stores import postgres
from order_engine.execution.stores.connections import connect
from order_engine.execution.stores.postgres import (
    READS_WAITING_MAX,
    Reader,
    open_session,
)
from support.dying_server import DyingServer, fatal
from support.lossy_proxy import Loss, LossyProxy
from support.serving import a_closed_port
from support.stores import Databases

DEADLINE_S = 30
PID = "SELECT pg_backend_pid() AS pid"
SLOW = "SELECT pg_sleep(30)"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    return LOOPS[request.param]


def run(work: Coroutine[Any, Any, None], new_loop: LoopFactory = asyncio.new_event_loop) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(in_time())


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a server that accepts connections and sends nothing, like a frozen one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://user:password@127.0.0.1:{listener.getsockname()[1]}/orders"


def a_reader(databases: Databases, *, connections_max: int = 2) -> Reader:
    return Reader(databases.orders_url, application_name="test", connections_max=connections_max)


def test_a_thread_that_connects_to_a_silent_server_fails(silent_url: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="no answer within 2 s"):
        connect(silent_url, application_name="test")


def test_a_session_that_connects_to_a_silent_server_fails(silent_url: str) -> None:
    async def work() -> None:
        with pytest.raises(psycopg2.OperationalError, match="no answer within 2 s"):
            await open_session(silent_url, application_name="test")

    run(work())


def test_a_session_works_on_one_event_loop_after_another(databases: Databases) -> None:
    sessions = []

    async def first() -> None:
        sessions.append(await open_session(databases.orders_url, application_name="test"))
        assert await sessions[0].execute("SELECT 1 AS one") == [{"one": 1}]

    async def second() -> None:
        assert await sessions[0].execute("SELECT %(n)s AS n", {"n": 2}) == [{"n": 2}]
        sessions[0].close()

    run(first())
    run(second())


def test_a_large_statement_and_a_large_answer_pass(databases: Databases) -> None:
    text = "x" * 10_000_000

    async def work() -> None:
        session = await open_session(databases.orders_url, application_name="test")
        [row] = await session.execute("SELECT %(text)s AS text", {"text": text})
        session.close()

        assert row["text"] == text

    run(work())


def test_a_statement_that_fails_leaves_no_timer_for_the_next(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        session = await open_session(databases.orders_url, application_name="test")
        monkeypatch.setattr(postgres, "REPLY_TIMEOUT_S", 0.5)
        with pytest.raises(psycopg2.Error, match="division by zero"):
            await session.execute("SELECT 1 / 0")
        monkeypatch.setattr(postgres, "REPLY_TIMEOUT_S", 20)

        # longer than the first statement had
        assert await session.execute("SELECT 1 AS one FROM pg_sleep(1)") == [{"one": 1}]
        session.close()

    run(work())


def test_a_statement_without_an_answer_fails(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        session = await open_session(databases.orders_url, application_name="test")
        monkeypatch.setattr(postgres, "REPLY_TIMEOUT_S", 0.2)
        with pytest.raises(psycopg2.OperationalError, match="no answer within"):
            await session.execute(SLOW)
        session.close()

    run(work())


def test_a_statement_fails_with_the_last_words_of_a_server_that_resets_the_connection(
    databases: Databases, new_loop: LoopFactory
) -> None:
    async def work() -> None:
        with closing(DyingServer(databases.orders_url)) as server:
            session = await open_session(server.url, application_name="test")
            server.stop_reading()
            answer = asyncio.create_task(session.execute(PID))
            await asyncio.sleep(0)  # the statement is sent
            server.die(fatal("terminating connection due to administrator command"))

            with pytest.raises(psycopg2.OperationalError, match="administrator command"):
                await answer
            session.close()

    run(work(), new_loop)


def test_a_session_connects_to_the_second_host_when_the_first_refuses(
    databases: Databases, new_loop: LoopFactory
) -> None:
    async def work() -> None:
        given = parse_dsn(databases.orders_url)
        with a_closed_port() as port:
            hosts = {"host": f"127.0.0.1,{given['host']}", "port": f"{port},{given['port']}"}
            url = make_dsn(**given | hosts)
            session = await open_session(url, application_name="test")
        assert await session.execute("SELECT 1 AS one") == [{"one": 1}]
        session.close()

    run(work(), new_loop)


def test_reads_one_after_another_share_a_connection(databases: Databases) -> None:
    async def work() -> None:
        with closing(a_reader(databases)) as reader:
            pids = {(await reader.rows(PID, {}))[0]["pid"] for _ in range(5)}

        assert len(pids) == 1

    run(work())


def test_reads_at_once_use_up_to_connections_max(databases: Databases) -> None:
    async def work() -> None:
        with closing(a_reader(databases, connections_max=3)) as reader:
            found = await asyncio.gather(*(reader.rows(PID, {}) for _ in range(20)))

        assert 1 <= len({rows[0]["pid"] for rows in found}) <= 3

    run(work())


def test_a_read_on_a_connection_that_was_lost_meanwhile_is_repeated(
    databases: Databases,
) -> None:
    async def work() -> None:
        with closing(a_reader(databases)) as reader, closing(a_reader(databases)) as other:
            [first] = await reader.rows(PID, {})
            await other.rows("SELECT pg_terminate_backend(%(pid)s)", {"pid": first["pid"]})
            [second] = await reader.rows(PID, {})

        assert second["pid"] != first["pid"]

    run(work())


def test_a_read_whose_reply_is_lost_is_repeated_once_on_a_new_connection(
    databases: Databases,
) -> None:
    async def work(proxy: LossyProxy) -> None:
        with closing(Reader(proxy.url, application_name="test", connections_max=1)) as reader:
            await reader.rows(PID, {})
            proxy.lose_next(Loss.REPLY)

            assert await reader.rows("SELECT 7 AS seven", {}) == [{"seven": 7}]

    proxy = LossyProxy(databases.orders_url)
    try:
        run(work(proxy))
    finally:
        proxy.close()


def test_a_read_that_waits_too_long_for_a_lock_fails_and_is_not_repeated(
    databases: Databases,
) -> None:
    async def work() -> None:
        locking = await open_session(databases.orders_url, application_name="locking")
        with closing(a_reader(databases)) as reader:
            [first] = await reader.rows(PID, {})
            await locking.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                await reader.rows("SELECT count(*) FROM orders", {})
            locking.close()
            [second] = await reader.rows(PID, {})

        assert second == first  # the connection is as good as before

    run(work())


def test_a_cancelled_read_gives_its_turn_to_the_next(databases: Databases) -> None:
    async def work() -> None:
        with closing(a_reader(databases, connections_max=1)) as reader:
            slow = asyncio.create_task(reader.rows(SLOW, {}))
            await asyncio.sleep(0)
            slow.cancel()

            assert await reader.rows("SELECT 1 AS one", {}) == [{"one": 1}]

    run(work())


def test_a_read_that_no_connection_is_free_for_fails_in_time(databases: Databases) -> None:
    async def work() -> None:
        with closing(a_reader(databases, connections_max=1)) as reader:
            slow = asyncio.create_task(reader.rows(SLOW, {}))
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable, match="no connection was free in time"):
                await reader.rows(PID, {})
            slow.cancel()

            assert await reader.rows("SELECT 1 AS one", {}) == [{"one": 1}]

    run(work())


def test_too_many_waiting_reads_are_refused(databases: Databases) -> None:
    async def work() -> None:
        with closing(a_reader(databases, connections_max=1)) as reader:
            reads = [
                asyncio.create_task(reader.rows(SLOW, {})) for _ in range(READS_WAITING_MAX + 1)
            ]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await reader.rows(PID, {})
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)

            assert await reader.rows("SELECT 1 AS one", {}) == [{"one": 1}]

    run(work())
