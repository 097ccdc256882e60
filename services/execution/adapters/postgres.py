"""Connections to PostgreSQL: a pool for lone reads, and group commit for everything else.

psycopg2 is synchronous, so group commit has a thread. Whatever statements gathered while
the previous commit ran go out together, each kind as **one autocommit statement** over many rows:
never BEGIN ... COMMIT around client round trips, because a frozen client must not hold row locks.
"""

import asyncio
import json
import random
import select
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import psycopg2
import psycopg2.extras
import structlog
from psycopg2 import errorcodes, extensions
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from execution import metrics
from execution.adapters.batching import Batches
from execution.domain.errors import StoreUnavailable

Connection = extensions.connection
Cursor = psycopg2.extras.RealDictCursor
Row = Mapping[str, Any]

CONNECT_TIMEOUT_S = 2
REPLY_TIMEOUT_S = 7.0  # beyond statement_timeout: a server that does not even say that is frozen
SERVER_LIMITS = (
    "-c lock_timeout=1000 -c statement_timeout=5000 -c idle_in_transaction_session_timeout=5000"
)

# The statement had no effect and may simply run again.
REPEATABLE = frozenset(
    {
        errorcodes.SERIALIZATION_FAILURE,
        errorcodes.DEADLOCK_DETECTED,
        errorcodes.LOCK_NOT_AVAILABLE,
    }
)
# The server is going away, not there yet, full, or (after a failover) no longer the primary.
CONNECTION_CLASSES = ("08", "53", "57P")
READ_ONLY = errorcodes.READ_ONLY_SQL_TRANSACTION

log = structlog.get_logger()


def connect(url: str, *, application_name: str) -> Connection:
    """An autocommit connection whose every wait is bounded; UUIDs arrive as UUID."""
    extensions.set_wait_callback(_wait_for_reply)
    connection = psycopg2.connect(
        url,
        application_name=application_name,
        connect_timeout=CONNECT_TIMEOUT_S,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
        tcp_user_timeout=5000,
        options=SERVER_LIMITS,
    )
    connection.autocommit = True
    psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # no stub
    return connection


def _wait_for_reply(connection: Connection) -> None:
    """Bounds every wait of psycopg2, which by itself waits for a frozen server for ever.

    psycopg2 closes the connection when this raises.
    """
    deadline = time.monotonic() + REPLY_TIMEOUT_S
    while (state := connection.poll()) != extensions.POLL_OK:
        waiting = select.poll()  # select() itself fails beyond 1,024 open files
        waiting.register(
            connection, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN
        )
        if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise psycopg2.OperationalError(f"PostgreSQL gave no answer within {REPLY_TIMEOUT_S} s")


def is_connection_loss(error: psycopg2.Error) -> bool:
    """True where nobody can tell whether the statement took effect, or the server cannot serve."""
    code = error.pgcode
    if code is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return code == READ_ONLY or code.startswith(CONNECTION_CLASSES)


class Reader:
    """Pooled reads, each on a thread, each with a bound on waiting for a connection."""

    def __init__(self, url: str, *, application_name: str, connections_max: int) -> None:
        self._engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: connect(url, application_name=application_name),
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
        )

    async def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """All rows of one query; raises StoreUnavailable when PostgreSQL does not answer in time."""
        return await asyncio.to_thread(self._rows, sql, parameters)

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
            if is_connection_loss(error):
                raise StoreUnavailable(str(error).strip()) from error
            raise

    def close(self) -> None:
        self._engine.dispose()


In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Generic[In, Out]):
    """One kind of statement, over many rows at once: a write, or a read that many share.

    `row` turns an input into the JSON object that the SQL reads through json_to_recordset as
    %(rows)s. `key` names the row that it locks: batches are sorted by it, and hold it once. Rows of
    the answer find their input by `answer_key`. `result` gets those rows, none where nothing
    moved. `follow_up` is a second statement on the same connection, run where the first returned
    nothing for some input; its rows are added to theirs.
    """

    name: str
    sql: str
    key: Callable[[In], Hashable]
    row: Callable[[In], Row]
    answer_key: Callable[[Row], Hashable]
    result: Callable[[In, Sequence[Row]], Out]
    follow_up: str | None = None


class GroupCommit:
    """One thread and one connection, on which the statements that gathered run together.

    A lost connection is answered by repeating the same statement with the same rows, never by
    asking what happened: every statement is written so that a repeat finds its own traces.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        batch_max: int = 256,
        backlog_max: int = 10_000,
        deadline_s: float = 5.0,
    ) -> None:
        self._url = url
        self._application_name = application_name
        self._deadline_s = deadline_s
        self._connection: Connection | None = None
        self._batches: Batches[tuple[Statement[Any, Any], Any], Any] = Batches(
            self._run,
            name=application_name,
            batch_max=batch_max,
            backlog_max=backlog_max,
        )

    async def run(self, statement: Statement[In, Out], item: In) -> Out:
        """The result once committed. Raises StoreUnavailable when that could not be learnt in time."""
        result: Out = await self._batches.call((statement, item))
        return result

    def close(self) -> None:
        self._batches.close()
        self._disconnect()

    def _run(self, calls: Sequence[tuple[Statement[Any, Any], Any]]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        deadline = time.monotonic() + self._deadline_s
        for statement, places in _rounds(calls):
            items = [calls[place][1] for place in places]
            for place, result in zip(places, self._commit(statement, items, deadline), strict=True):
                results[place] = result
        return results

    def _commit(
        self, statement: Statement[Any, Any], items: list[Any], deadline: float
    ) -> list[Any]:
        """Runs one statement until it is known to have committed; a bad row fails alone.

        The deadline is that of the whole batch: what comes after it has passed is not tried while
        there is no connection.
        """
        pause_s = 0.02
        while True:
            if self._connection is None and time.monotonic() > deadline:
                return [StoreUnavailable("PostgreSQL is away")] * len(items)
            try:
                with metrics.COMMIT_SECONDS.labels(statement=statement.name).time():
                    return self._execute(statement, items)
            except psycopg2.Error as error:
                lost = is_connection_loss(error)
                if lost:
                    self._disconnect()
                elif error.pgcode not in REPEATABLE:
                    if len(items) == 1:
                        log.error("statement refused", statement=statement.name, error=str(error))
                        return [_refusal(error)]
                    middle = len(items) // 2
                    return [
                        *self._commit(statement, items[:middle], deadline),
                        *self._commit(statement, items[middle:], deadline),
                    ]
                metrics.COMMIT_REPEATS.labels(
                    statement=statement.name, reason="lost" if lost else "conflict"
                ).inc()
                if time.monotonic() + pause_s > deadline:
                    unavailable = StoreUnavailable(str(error).strip())
                    return [unavailable] * len(items)
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, 0.5)

    def _execute(self, statement: Statement[Any, Any], items: list[Any]) -> list[Any]:
        if self._connection is None:
            self._connection = connect(self._url, application_name=self._application_name)
        parameters = {"rows": json.dumps([statement.row(item) for item in items])}
        with self._connection.cursor(cursor_factory=Cursor) as cursor:
            cursor.execute(statement.sql, parameters)
            answers: list[Row] = list(cursor.fetchall())
            if statement.follow_up and len({statement.answer_key(a) for a in answers}) < len(items):
                cursor.execute(statement.follow_up, parameters)
                answers += cursor.fetchall()
        by_key: dict[Hashable, list[Row]] = {}
        for answer in answers:
            by_key.setdefault(statement.answer_key(answer), []).append(answer)
        return [statement.result(item, by_key.get(statement.key(item), ())) for item in items]

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _refusal(error: psycopg2.Error) -> Exception:
    timed_out = error.pgcode == errorcodes.QUERY_CANCELED
    return StoreUnavailable("the statement took too long") if timed_out else error


def _rounds(
    calls: Sequence[tuple[Statement[Any, Any], Any]],
) -> list[tuple[Statement[Any, Any], list[int]]]:
    """Places in `calls`, grouped by statement and sorted by key, each key once in a group.

    A key that comes twice goes to a later group, so that two writes to one row keep their order.
    """
    groups: list[tuple[Statement[Any, Any], dict[Hashable, int]]] = []
    latest: dict[Hashable, int] = {}  # key -> group after which its next write may come
    open_group: dict[tuple[str, int], int] = {}
    for place, (statement, item) in enumerate(calls):
        key = statement.key(item)
        depth = latest.get(key, 0)
        latest[key] = depth + 1
        index = open_group.setdefault((statement.name, depth), len(groups))
        if index == len(groups):
            groups.append((statement, {}))
        groups[index][1][key] = place
    groups_by_depth = sorted(open_group.items(), key=lambda entry: entry[0][1])
    return [
        (groups[index][0], [place for _, place in sorted(groups[index][1].items(), key=_by_key)])
        for _, index in groups_by_depth
    ]


def _by_key(entry: tuple[Hashable, int]) -> str:
    return str(entry[0])
