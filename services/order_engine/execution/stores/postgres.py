"""Connections to PostgreSQL with bounded waits, and a pool of them for single reads.

psycopg2 runs on the event loop here, without threads: a statement is sent, and the loop watches the
socket until the answer is there.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extras
import structlog
from psycopg2 import extensions

from order_engine.execution import metrics
from order_engine.execution.domain.errors import Overloaded, StoreUnavailable
from order_engine.execution.stores.addresses import (
    CONNECT_TIMEOUT_S,
    connect_timeout_s,
    fault_of,
    parameters_of,
)
from order_engine.execution.stores.connections import (
    NO_SETTINGS,
    REPLY_TIMEOUT_S,
    Connection,
    prefix_of,
    values_of,
)
from order_engine.execution.stores.failures import TOOK_TOO_LONG, is_connection_loss
from order_engine.execution.stores.rows import Row, UnreadableRows, fetched
from order_engine.execution.stores.session_settings import READ_ONLY_BY_DEFAULT, SET_IN_SESSION

READS_WAITING_MAX = 1_000

log = structlog.get_logger()


class Session:
    """An autocommit connection of the event loop, with one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ready: asyncio.Future[None] | None = None
        self._watched: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._prefix = b""

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler may run each statement in another session of the server."""
        return bool(self._prefix)

    async def configure(self, url: str, settings: Mapping[str, str]) -> None:
        """Sets what the engine relies on: now, or with each statement when a pooler is in between."""
        values = values_of(self._connection, url, settings)
        [answer] = await self.execute(SET_IN_SESSION, values)
        if not answer["is_direct"]:
            [read_only] = await self.execute(READ_ONLY_BY_DEFAULT)
            with self._connection.cursor() as cursor:
                self._prefix = prefix_of(cursor, values, read_only=read_only["found"])

    async def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows of a statement. A caller that is cancelled must close the session.

        Raises UnreadableRows when the statement has run and some of its rows cannot be read.
        """
        with self._connection.cursor() as cursor:
            if self._prefix:
                cursor.execute(self._prefix + cursor.mogrify(sql, parameters))
            else:
                cursor.execute(sql, parameters)
            await self.until_ready(timeout_s=REPLY_TIMEOUT_S)
            return fetched(cursor)

    async def until_ready(self, *, timeout_s: float) -> None:
        """Waits until the connection is open, or its statement has been answered."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(timeout_s, self._give_up, timeout_s)
        try:
            while (state := self._connection.poll()) != extensions.POLL_OK:
                self._ready = loop.create_future()
                self._watch(loop, state)
                try:
                    await self._ready
                finally:
                    self._unwatch()
        finally:
            self._ready = None
            timer.cancel()

    def close(self) -> None:
        self._unwatch()
        self._connection.close()

    def _watch(self, loop: asyncio.AbstractEventLoop, state: int) -> None:
        """Watches the socket until it is ready once.

        Each wait watches it anew: uvloop stops after an error of the socket, and libpq opens another
        socket for each address that it tries.
        """
        socket = self._connection.fileno()
        self._watched = loop, socket
        loop.add_reader(socket, self._note_ready)
        if state == extensions.POLL_WRITE:
            loop.add_writer(socket, self._note_ready)

    def _unwatch(self) -> None:
        if self._watched is not None:
            loop, socket = self._watched
            self._watched = None
            loop.remove_reader(socket)
            loop.remove_writer(socket)

    def _note_ready(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _give_up(self, timeout_s: float) -> None:
        if self._ready is not None and not self._ready.done():
            late = f"PostgreSQL gave no answer within {timeout_s:g} s"
            self._ready.set_exception(psycopg2.OperationalError(late))


async def open_session(
    url: str, *, application_name: str, settings: Mapping[str, str] = NO_SETTINGS
) -> Session:
    """UUIDs arrive as UUID. `settings` differ from those of other sessions."""
    parameters = parameters_of(url, application_name=application_name)
    # on a thread, because libpq resolves the name of the host before it returns
    connection: Connection = await asyncio.to_thread(
        psycopg2.connect, url, async_=True, **parameters
    )
    session = Session(connection)
    try:
        await session.until_ready(timeout_s=connect_timeout_s(connection))
        psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # no stub
        await session.configure(url, settings)
    except BaseException:
        session.close()
        raise
    return session


class Reader:
    """Single reads on a pool of connections, with bounds on how many run and how many wait."""

    def __init__(self, url: str, *, application_name: str, connections_max: int) -> None:
        """Raises SystemExit with one line when the URL is wrong."""
        if fault := fault_of(url):
            raise SystemExit(f"cannot start: {fault}")
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

    async def readable_rows(
        self, sql: str, parameters: Mapping[str, Any]
    ) -> tuple[Sequence[Row], int]:
        """The rows that can be read, and how many cannot."""
        try:
            return await self.rows(sql, parameters), 0
        except UnreadableRows as error:
            log.error("rows left out of an answer", error=str(error))
            return error.readable, error.missing

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
