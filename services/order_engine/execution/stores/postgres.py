"""Connections to PostgreSQL with bounded waits, and a pool of them for single reads.

psycopg2 runs on the event loop here, without threads: a statement is sent, and the loop watches the
socket until the answer is there.
"""

import asyncio
import select
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import psycopg2
import psycopg2.extras
import structlog
from psycopg2 import errorcodes, extensions

from order_engine.execution import metrics
from order_engine.execution.domain.errors import Overloaded, StoreUnavailable

Connection = extensions.connection
Row = Mapping[str, Any]

CONNECT_TIMEOUT_S = 2
READS_WAITING_MAX = 1_000
REPLY_TIMEOUT_S = 7.0  # longer than statement_timeout: a server that does not report that is frozen
SERVER_LIMITS = "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=5000"

# The server is shutting down, starting, full, or (after a failover) no longer the primary.
CONNECTION_CLASSES = ("08", "53", "57P")
READ_ONLY = errorcodes.READ_ONLY_SQL_TRANSACTION

# Limits that connections set themselves; the lock of a migration may exceed them.
TOOK_TOO_LONG = frozenset({errorcodes.LOCK_NOT_AVAILABLE, errorcodes.QUERY_CANCELED})

WRONG_ADDRESS = "DATABASE_URL or CHAIN_DATABASE_URL has an unknown option, or a part that is not percent-encoded"

log = structlog.get_logger()


def connect(url: str, *, application_name: str) -> Connection:
    """An autocommit connection for a thread, with bounded waits."""
    extensions.set_wait_callback(_wait_for_reply)
    if not is_address(url):
        raise psycopg2.OperationalError(WRONG_ADDRESS)
    connection: Connection = psycopg2.connect(
        url, **_options(application_name, lock_wait_s=1.0, settings="")
    )
    connection.autocommit = True
    return connection


class Session:
    """An autocommit connection of the event loop, with one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches the socket
        self._socket = connection.fileno()
        self._ready: asyncio.Future[None] | None = None

    async def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows of a statement. A caller that is cancelled must close the session."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            await self.until_ready(timeout_s=REPLY_TIMEOUT_S)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    async def until_ready(self, *, timeout_s: float) -> None:
        """Waits until the connection is open, or its statement has been answered."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(timeout_s, self._give_up, timeout_s)
        try:
            while (state := self._connection.poll()) != extensions.POLL_OK:
                self._ready = loop.create_future()
                self._watch(loop)
                if state == extensions.POLL_WRITE:
                    loop.add_writer(self._socket, self._note_ready)
                try:
                    await self._ready
                finally:
                    if state == extensions.POLL_WRITE:
                        loop.remove_writer(self._socket)
        finally:
            self._ready = None
            timer.cancel()

    def close(self) -> None:
        self._unwatch()
        self._connection.close()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets the loop watch the socket until the session is closed, which costs less than each time."""
        socket = self._connection.fileno()  # may change while it connects
        if loop is not self._loop or socket != self._socket:
            self._unwatch()
            self._loop, self._socket = loop, socket
            loop.add_reader(socket, self._note_ready)

    def _unwatch(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._loop = None

    def _note_ready(self) -> None:
        if self._ready is None:
            self._unwatch()  # nothing is expected: the server has closed the connection
        elif not self._ready.done():
            self._ready.set_result(None)

    def _give_up(self, timeout_s: float) -> None:
        if self._ready is not None and not self._ready.done():
            late = f"PostgreSQL gave no answer within {timeout_s:g} s"
            self._ready.set_exception(psycopg2.OperationalError(late))


async def open_session(
    url: str, *, application_name: str, lock_wait_s: float = 1.0, settings: str = ""
) -> Session:
    """UUIDs arrive as UUID. `settings` are further options of the session, as `-c name=value`."""
    if not is_address(url):
        raise psycopg2.OperationalError(WRONG_ADDRESS)
    options = _options(application_name, lock_wait_s=lock_wait_s, settings=settings)
    # on a thread, because libpq resolves the name of the host before it returns
    connection: Connection = await asyncio.to_thread(psycopg2.connect, url, async_=True, **options)
    session = Session(connection)
    try:
        await session.until_ready(timeout_s=CONNECT_TIMEOUT_S)
        psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # no stub
    except BaseException:
        session.close()
        raise
    return session


def _options(application_name: str, *, lock_wait_s: float, settings: str) -> dict[str, Any]:
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,
        "options": f"{SERVER_LIMITS} -c lock_timeout={lock_wait_s * 1000:.0f} {settings}",
    }


def is_address(url: str) -> bool:
    """Whether libpq can parse the URL. Its own error may contain a part of the password."""
    try:
        extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        return False
    return True


def _wait_for_reply(connection: Connection) -> None:
    """Bounds every wait of a thread, which without this callback waits for a frozen server forever.

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
        if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise psycopg2.OperationalError(f"PostgreSQL gave no answer within {wait_max_s} s")


def is_connection_loss(error: psycopg2.Error) -> bool:
    """Whether the statement may or may not have taken effect, or the server cannot serve."""
    code = error.pgcode
    if code is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return code == READ_ONLY or code.startswith(CONNECTION_CLASSES)


class Reader:
    """Single reads on a pool of connections, with bounds on how many run and how many wait."""

    def __init__(self, url: str, *, application_name: str, connections_max: int) -> None:
        """Raises SystemExit with one line when libpq cannot parse the URL."""
        if not is_address(url):
            raise SystemExit(f"cannot start: {WRONG_ADDRESS}")
        self._url = url
        self._application_name = application_name
        self._free = connections_max
        self._connections_max = connections_max
        self._idle: list[Session] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._in_use = metrics.CONNECTIONS_READING.labels(pool=application_name)
        self._waiting_reads = metrics.READS_WAITING.labels(pool=application_name)

    async def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """All rows of one query.

        Raises StoreUnavailable when PostgreSQL does not answer in time, and Overloaded when
        READS_WAITING_MAX reads are waiting.
        """
        await self._take_turn()
        try:
            return await self._rows(sql, parameters)
        except psycopg2.Error as error:
            if is_connection_loss(error) or error.pgcode in TOOK_TOO_LONG:
                raise StoreUnavailable(str(error).strip()) from error
            raise
        finally:
            self._end_turn()

    async def _rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        if self._idle:
            try:
                return await self._read(self._idle.pop(), sql, parameters)
            except psycopg2.Error as error:
                if not is_connection_loss(error):
                    raise
                self.close()  # the server may have restarted since: the others are lost, too
        session = await open_session(self._url, application_name=self._application_name)
        return await self._read(session, sql, parameters)

    async def _read(self, session: Session, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        try:
            found = await session.execute(sql, parameters)
        except psycopg2.Error as error:
            if is_connection_loss(error):
                session.close()
            else:
                self._idle.append(session)
            raise
        except BaseException:
            session.close()
            raise
        self._idle.append(session)
        return found

    async def _take_turn(self) -> None:
        if self._free > 0:
            self._free -= 1
        elif len(self._waiting) >= READS_WAITING_MAX:
            raise Overloaded(f"{READS_WAITING_MAX} reads are waiting")
        else:
            await self._wait_for_turn()
        self._show()

    async def _wait_for_turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._show()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._end_turn()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable("no connection was free in time") from error
            raise

    def _end_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        else:
            self._free += 1
        self._show()

    def _show(self) -> None:
        self._in_use.set(self._connections_max - self._free)
        self._waiting_reads.set(len(self._waiting))

    def close(self) -> None:
        """Closes the connections that are idle; one that reads is closed when its caller ends."""
        while self._idle:
            self._idle.pop().close()
