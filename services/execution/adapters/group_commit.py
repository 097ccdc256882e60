"""Group commit: the statements that gathered while the previous one ran go out together.

psycopg2 is synchronous, so it has a thread. Each kind is **one autocommit statement** over many
rows: never BEGIN ... COMMIT around client round trips, because a frozen client must not hold row
locks.
"""

import json
import random
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg2
import structlog
from psycopg2 import errorcodes

from execution import metrics
from execution.adapters.batching import Batches
from execution.adapters.postgres import Connection, Cursor, Row, connect, is_connection_loss
from execution.domain.errors import StoreUnavailable

# The statement had no effect and may simply run again.
REPEATABLE = frozenset(
    {
        errorcodes.SERIALIZATION_FAILURE,
        errorcodes.DEADLOCK_DETECTED,
        errorcodes.LOCK_NOT_AVAILABLE,
    }
)
log = structlog.get_logger()

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
