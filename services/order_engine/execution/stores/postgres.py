"""Connections to PostgreSQL with bounded waits, and a pool of them for single reads."""

import asyncio
import select
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast

import psycopg2
import psycopg2.extras
import structlog
from psycopg2 import errorcodes, extensions
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from order_engine.execution import metrics
from order_engine.execution.domain.errors import Overloaded, StoreUnavailable

Connection = extensions.connection
Cursor = psycopg2.extras.RealDictCursor
Row = Mapping[str, Any]

CONNECT_TIMEOUT_S = 2
READS_WAITING_MAX = 1_000
REPLY_TIMEOUT_S = 7.0  # longer than statement_timeout: a server that does not report that is frozen
CLOSE_CHECK_S = 0.25
SERVER_LIMITS = "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=5000"

# The server is shutting down, starting, full, or (after a failover) no longer the primary.
CONNECTION_CLASSES = ("08", "53", "57P")
READ_ONLY = errorcodes.READ_ONLY_SQL_TRANSACTION

# Limits that connections set themselves; the lock of a migration may exceed them.
TOOK_TOO_LONG = frozenset({errorcodes.LOCK_NOT_AVAILABLE, errorcodes.QUERY_CANCELED})

WRONG_ADDRESS = "DATABASE_URL or CHAIN_DATABASE_URL has an unknown option, or a part that is not percent-encoded"

log = structlog.get_logger()


class _Thread(threading.local):
    """State of a thread that waits for PostgreSQL: the event that ends its waits, if any."""

    given_up: threading.Event | None = None


_thread = _Thread()


def connect(url: str, *, application_name: str, lock_wait_s: float = 1.0) -> Connection:
    """An autocommit connection with bounded waits; UUIDs arrive as UUID."""
    extensions.set_wait_callback(_wait_for_reply)
    if not is_address(url):
        raise psycopg2.OperationalError(WRONG_ADDRESS)
    connection = psycopg2.connect(
        url,
        application_name=application_name,
        connect_timeout=CONNECT_TIMEOUT_S,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
        tcp_user_timeout=5000,
        options=f"{SERVER_LIMITS} -c lock_timeout={lock_wait_s * 1000:.0f}",
    )
    connection.autocommit = True
    psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # no stub
    return connection


def is_address(url: str) -> bool:
    """Whether libpq can parse the URL. Its own error may contain a part of the password."""
    try:
        extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        return False
    return True


def _wait_for_reply(connection: Connection) -> None:
    """Bounds every wait of psycopg2, which without this callback waits for a frozen server forever.

    With the callback, psycopg2 ignores connect_timeout. It closes the connection when this raises.
    """
    connecting = connection.status == extensions.STATUS_SETUP
    wait_max_s = CONNECT_TIMEOUT_S if connecting else REPLY_TIMEOUT_S
    deadline = time.monotonic() + wait_max_s
    while (state := connection.poll()) != extensions.POLL_OK:
        waiting = select.poll()  # select() itself fails beyond 1,024 open files
        waiting.register(
            connection, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN
        )
        while not waiting.poll(CLOSE_CHECK_S * 1000):
            if time.monotonic() > deadline:
                raise psycopg2.OperationalError(f"PostgreSQL gave no answer within {wait_max_s} s")
            if _thread.given_up and _thread.given_up.is_set():
                raise psycopg2.OperationalError("the wait for PostgreSQL was abandoned")


def _give_up_on(event: threading.Event) -> None:
    _thread.given_up = event


def is_connection_loss(error: psycopg2.Error) -> bool:
    """Whether the statement may or may not have taken effect, or the server cannot serve."""
    code = error.pgcode
    if code is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return code == READ_ONLY or code.startswith(CONNECTION_CLASSES)


class Reader:
    """Pooled reads on threads, with bounds on how many run and how many wait."""

    def __init__(self, url: str, *, application_name: str, connections_max: int) -> None:
        """Raises SystemExit with one line when libpq cannot parse the URL."""
        if not is_address(url):
            raise SystemExit(f"cannot start: {WRONG_ADDRESS}")
        self._engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: connect(url, application_name=application_name),
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
        )
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(
            connections_max,
            thread_name_prefix="reader",
            initializer=_give_up_on,
            initargs=(self._closed,),
        )
        self._connections_max = connections_max
        self._under_way = 0
        self._reading = metrics.CONNECTIONS_READING.labels(pool=application_name)
        self._waiting = metrics.READS_WAITING.labels(pool=application_name)

    async def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """All rows of one query.

        Raises StoreUnavailable when PostgreSQL does not answer in time, and Overloaded when
        READS_WAITING_MAX reads are waiting.
        """
        if self._under_way >= READS_WAITING_MAX:
            raise Overloaded(f"{READS_WAITING_MAX} reads are waiting")
        self._count(1)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._rows, sql, parameters)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._under_way += change
        self._reading.set(min(self._under_way, self._connections_max))
        self._waiting.set(max(self._under_way - self._connections_max, 0))

    def _rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        try:
            with closing(self._engine.raw_connection()) as pooled:
                connection = cast(Connection, pooled.driver_connection)
                with connection.cursor(cursor_factory=Cursor) as cursor:
                    cursor.execute(sql, parameters)
                    return list(cursor.fetchall())
        except (PoolTimeout, DBAPIError) as error:
            raise StoreUnavailable(str(error)) from error
        except psycopg2.Error as error:
            if is_connection_loss(error) or error.pgcode in TOOK_TOO_LONG:
                raise StoreUnavailable(str(error).strip()) from error
            raise

    def close(self) -> None:
        """Abandons the reads that wait, because Python joins their threads before it exits."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)
        self._engine.dispose()
