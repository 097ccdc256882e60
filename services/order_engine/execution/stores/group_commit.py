"""Group commit: the statements that gathered while the previous one ran go out together.

psycopg2 is synchronous, so it has a thread. Each kind is **one autocommit statement** over many
rows: never BEGIN ... COMMIT around client round trips, because a frozen client must not hold row
locks.
"""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import psycopg2
import structlog
from psycopg2 import errorcodes

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError, StoreUnavailable
from order_engine.execution.stores.batches import Batches
from order_engine.execution.stores.postgres import (
    Connection,
    Cursor,
    Row,
    connect,
    is_connection_loss,
)

# The statement had no effect: it may run again, at once or without the row that is locked.
REASONS = {
    errorcodes.SERIALIZATION_FAILURE: "conflict",
    errorcodes.DEADLOCK_DETECTED: "conflict",
    errorcodes.LOCK_NOT_AVAILABLE: "locked",
}

# So many halvings find one row among 256. Locks cost a round at most 2 x SPLITS_MAX x LOCK_WAIT_S,
# and LOCK_WAIT_S for each kind of statement in it.
LOCK_WAIT_S = 0.1
SPLITS_MAX = 8
LOCK_RETRY_S = 0.2

QUEUE_WAIT_MAX_S = (
    3.0  # beyond the deadline of its batch, a call waits so long for the batch before it
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """An item on its way: the row that it locks, and its part of %(rows)s."""

    statement: Statement[Any, Any]
    key: Hashable
    row: str
    met_a_lock: bool = False


_Group = tuple[Statement[Any, Any], Sequence[int]]


class _RowLocked(ExecutionError):
    """Somebody else holds the row, or one that shared its statement; the call comes again."""


class GroupCommit:
    """One thread and one connection, on which the statements that gathered run together.

    A lost connection is answered by repeating the same statement with the same rows, never by
    asking what happened: every statement is written so that a repeat finds its own traces.

    A row that somebody else holds must not hold up the others. A group of calls that meets a lock is
    halved, again and again, each half behind all that is still ahead; calls that remain locked leave
    the batch and come again with a later one, apart from those that have met no lock.
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
        self._batches: Batches[_Call, Sequence[Row]] = Batches(
            self._run,
            name=application_name,
            batch_max=batch_max,
            backlog_max=backlog_max,
        )

    async def run(self, statement: Statement[In, Out], item: In) -> Out:
        """The result once committed. Raises StoreUnavailable when that could not be learnt in time."""
        call = _Call(
            statement=statement, key=statement.key(item), row=json.dumps(statement.row(item))
        )
        try:
            async with asyncio.timeout(self._deadline_s + QUEUE_WAIT_MAX_S):
                return statement.result(item, await self._answer(call))
        except TimeoutError as error:
            raise StoreUnavailable(f"{statement.name}: no answer in time") from error

    def close(self) -> None:
        self._batches.close()
        self._disconnect()

    async def _answer(self, call: _Call) -> Sequence[Row]:
        while True:
            try:
                return await self._batches.call(call)
            except _RowLocked:
                call = replace(call, met_a_lock=True)
                await asyncio.sleep(_about(LOCK_RETRY_S))

    def _run(self, calls: Sequence[_Call]) -> list[Sequence[Row] | Exception]:
        deadline = time.monotonic() + self._deadline_s
        answers: dict[int, Sequence[Row] | Exception] = {}
        for groups in _rounds(calls):
            answers.update(self._run_round(calls, groups, deadline))
        return [answers[place] for place in range(len(calls))]

    def _run_round(
        self, calls: Sequence[_Call], groups: Iterable[_Group], deadline: float
    ) -> Iterator[tuple[int, Sequence[Row] | Exception]]:
        """Each place with its answer; a row that is refused or locked fails alone."""
        ahead = deque(groups)
        splits_left = SPLITS_MAX
        while ahead:
            statement, places = ahead.popleft()
            found: Sequence[Sequence[Row] | Exception]
            try:
                found = self._commit(statement, [calls[place] for place in places], deadline)
            except StoreUnavailable as error:
                found = [error] * len(places)
            except psycopg2.Error as error:
                locked = error.pgcode == errorcodes.LOCK_NOT_AVAILABLE
                if len(places) > 1 and (splits_left or not locked):
                    splits_left -= locked
                    middle = len(places) // 2
                    ahead += [(statement, places[:middle]), (statement, places[middle:])]
                    continue
                found = [_RowLocked() if locked else _refused(statement, error)] * len(places)
            yield from zip(places, found, strict=True)

    def _commit(
        self, statement: Statement[Any, Any], calls: Sequence[_Call], deadline: float
    ) -> list[Sequence[Row]]:
        """Runs one statement until it is known to have committed; the rows that answer each call.

        Raises psycopg2.Error where PostgreSQL refuses these calls, StoreUnavailable where it is away
        or too slow. The deadline is that of the whole batch: what comes after it has passed is not
        tried while there is no connection.
        """
        pause_s = 0.02
        while True:
            if self._connection is None and time.monotonic() > deadline:
                raise StoreUnavailable("PostgreSQL is away")
            try:
                with metrics.COMMIT_SECONDS.labels(statement=statement.name).time():
                    return self._execute(statement, calls)
            except psycopg2.Error as error:
                reason = "lost" if is_connection_loss(error) else REASONS.get(error.pgcode or "")
                if reason is not None:
                    metrics.COMMIT_REPEATS.labels(statement=statement.name, reason=reason).inc()
                if reason == "lost":
                    self._disconnect()
                elif error.pgcode == errorcodes.QUERY_CANCELED:
                    raise StoreUnavailable("the statement took too long") from error
                elif reason != "conflict":
                    raise
                if time.monotonic() + pause_s > deadline:
                    raise StoreUnavailable(str(error).strip()) from error
            time.sleep(_about(pause_s))
            pause_s = min(pause_s * 2, 0.5)

    def _execute(
        self, statement: Statement[Any, Any], calls: Sequence[_Call]
    ) -> list[Sequence[Row]]:
        if self._connection is None:
            self._connection = connect(
                self._url, application_name=self._application_name, lock_wait_s=LOCK_WAIT_S
            )
        parameters = {"rows": f"[{','.join(call.row for call in calls)}]"}
        with self._connection.cursor(cursor_factory=Cursor) as cursor:
            cursor.execute(statement.sql, parameters)
            answers: list[Row] = list(cursor.fetchall())
            if statement.follow_up and len({statement.answer_key(a) for a in answers}) < len(calls):
                cursor.execute(statement.follow_up, parameters)
                answers += cursor.fetchall()
        by_key: dict[Hashable, list[Row]] = {}
        for answer in answers:
            by_key.setdefault(statement.answer_key(answer), []).append(answer)
        return [by_key.get(call.key, []) for call in calls]

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _refused(statement: Statement[Any, Any], error: psycopg2.Error) -> Exception:
    log.error("statement refused", statement=statement.name, error=str(error))
    return error


def _rounds(calls: Sequence[_Call]) -> list[list[_Group]]:
    """Places in `calls`, grouped by statement and sorted by key; what has met a lock comes last.

    A round holds each key once. The next write of a key goes to the next round, so that two writes
    to one row keep their order.
    """
    rounds: list[dict[tuple[bool, str], dict[Hashable, int]]] = []
    writes: Counter[Hashable] = Counter()
    for place, call in enumerate(calls):
        if writes[call.key] == len(rounds):
            rounds.append({})
        groups = rounds[writes[call.key]]
        groups.setdefault((call.met_a_lock, call.statement.name), {})[call.key] = place
        writes[call.key] += 1
    return [
        [_sorted_group(calls, groups[kind]) for kind in sorted(groups, key=_locked_last)]
        for groups in rounds
    ]


def _locked_last(kind: tuple[bool, str]) -> bool:
    return kind[0]


def _sorted_group(calls: Sequence[_Call], group: Mapping[Hashable, int]) -> _Group:
    places = [group[key] for key in sorted(group, key=str)]
    return calls[places[0]].statement, places


def _about(pause_s: float) -> float:
    return pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
