"""Group commit: statements that arrive while another one runs are sent together.

Each statement is **one autocommit statement** over many rows. It is never BEGIN ... COMMIT around
client round trips, because a frozen client must not hold row locks.
"""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
import structlog
from psycopg2 import errorcodes, errors

from order_engine.execution import metrics
from order_engine.execution.domain.errors import ExecutionError, StoreUnavailable
from order_engine.execution.stores.batches import Batches
from order_engine.execution.stores.failures import is_connection_loss
from order_engine.execution.stores.prepared import PreparedSession
from order_engine.execution.stores.rows import Row, UnreadableRows
from order_engine.execution.stores.statements import In, Out, Statement, json_value

# The statement had no effect: it may run again, at once or without the locked row.
REASONS = {
    errorcodes.SERIALIZATION_FAILURE: "conflict",
    errorcodes.DEADLOCK_DETECTED: "conflict",
    errorcodes.LOCK_NOT_AVAILABLE: "locked",
}

# SPLITS_MAX halvings isolate one row among 256. Locks cost a round at most 2 x SPLITS_MAX waits for
# a lock (see WRITER), plus one for each kind of statement in it.
SPLITS_MAX = 8
LOCK_RETRY_S = 0.2

QUEUE_WAIT_MAX_S = 3.0  # how long a call may wait for the previous batch to end

# A migration has changed the columns that a prepared statement returns; it had no effect.
CHANGED_COLUMNS = errorcodes.FEATURE_NOT_SUPPORTED

encode = json.JSONEncoder(default=json_value).encode

log = structlog.get_logger()

OnEvents = Callable[[Sequence[Any]], None]


@dataclass(slots=True, kw_only=True)
class _Call:
    """An input on its way: the row that it locks, and its part of %(rows)s."""

    statement: Statement[Any, Any]
    item: Any
    key: Hashable
    row: str
    met_a_lock: bool = False


_Group = tuple[Statement[Any, Any], Sequence[int]]


class _RowLocked(ExecutionError):
    """Another session holds the row, or a row of the same statement. The call is retried."""


class GroupCommit:
    """One connection that runs the waiting statements together.

    After a lost connection the same statement is sent again with the same rows. Every statement is
    written so that a repeat finds what the first try wrote.

    A locked row must not delay the others. A group of calls that meets a lock is halved repeatedly;
    each half runs after the groups that are already waiting. Calls that are still locked leave the
    batch and return with a later one, in a group apart from calls that have met no lock.

    `on_events` is called with the events that a batch has committed, before its callers go on.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        batch_max: int = 256,
        backlog_max: int = 10_000,
        deadline_s: float = 5.0,
        on_events: OnEvents | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._on_events = on_events
        self._session = PreparedSession(url, application_name=application_name)
        self._batches: Batches[_Call, Any] = Batches(
            self._run,
            name=application_name,
            batch_max=batch_max,
            backlog_max=backlog_max,
        )

    async def run(self, statement: Statement[In, Out], item: In) -> Out:
        """The result, once committed.

        Raises StoreUnavailable when PostgreSQL did not answer in time, so that the statement may
        or may not have taken effect, and Overloaded when the backlog is full.
        """
        call = _Call(
            statement=statement,
            item=item,
            key=statement.key(item),
            row=encode(statement.row(item)),
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s + QUEUE_WAIT_MAX_S
        while True:
            answer = self._batches.submit(call)
            timer = loop.call_at(deadline, _time_out, answer, statement.name)
            try:
                result: Out = await answer
            except _RowLocked:
                call.met_a_lock = True
                await asyncio.sleep(_jittered(LOCK_RETRY_S))
                if loop.time() > deadline:
                    raise _late(statement.name) from None
            else:
                return result
            finally:
                timer.cancel()

    async def finish(self) -> None:
        """Runs the statements that are already waiting, then disconnects."""
        await self._batches.close()
        self._session.close()

    def close(self) -> None:
        """Disconnects at once."""
        self._session.close()

    async def _run(self, calls: Sequence[_Call]) -> list[Any]:
        deadline = time.monotonic() + self._deadline_s
        answers: dict[int, Sequence[Row] | Exception] = {}
        for groups in _rounds(calls):
            async for index, answer in self._run_round(calls, groups, deadline):
                answers[index] = answer
        results = [_result(call, answers[index]) for index, call in enumerate(calls)]
        if self._on_events is not None:
            events = [
                event
                for call, result in zip(calls, results, strict=True)
                if not isinstance(result, Exception)
                for event in call.statement.events(result)
            ]
            if events:
                self._on_events(events)
        return results

    async def _run_round(
        self, calls: Sequence[_Call], groups: Iterable[_Group], deadline: float
    ) -> AsyncIterator[tuple[int, Sequence[Row] | Exception]]:
        """The answer of each call by its index; a refused or locked row fails alone."""
        waiting = deque(groups)
        splits_left = SPLITS_MAX  # of groups that met a lock
        while waiting:
            statement, indexes = waiting.popleft()
            answers: Sequence[Sequence[Row] | Exception]
            try:
                group = [calls[index] for index in indexes]
                answers = await self._commit(statement, group, deadline)
            except StoreUnavailable as error:
                answers = [error] * len(indexes)
            except (UnreadableRows, psycopg2.Error) as error:
                is_locked = isinstance(error, errors.LockNotAvailable)
                may_split = splits_left > 0 or not is_locked
                if len(indexes) > 1 and may_split:
                    if is_locked:
                        splits_left -= 1
                    middle = len(indexes) // 2
                    waiting.append((statement, indexes[:middle]))
                    waiting.append((statement, indexes[middle:]))
                    continue
                failure = _RowLocked() if is_locked else _refused(statement, error)
                answers = [failure] * len(indexes)
            for index, answer in zip(indexes, answers, strict=True):
                yield index, answer

    async def _commit(
        self, statement: Statement[Any, Any], calls: Sequence[_Call], deadline: float
    ) -> list[Sequence[Row]]:
        """Sends one statement until it is known to have committed; the returned rows of each call.

        Raises psycopg2.Error when PostgreSQL refuses the calls, and StoreUnavailable when it is
        away or too slow. The deadline is that of the whole batch: after it, a statement that has no
        connection is not tried.
        """
        pause_s = 0.02
        while True:
            if not self._session.is_open and time.monotonic() > deadline:
                raise StoreUnavailable("PostgreSQL is away")
            try:
                with metrics.COMMIT_SECONDS.labels(statement=statement.name).time():
                    return await self._execute(statement, calls)
            except psycopg2.Error as error:
                reason = "lost" if is_connection_loss(error) else REASONS.get(error.pgcode or "")
                if error.pgcode == CHANGED_COLUMNS and self._session.has_prepared:
                    reason = "lost"  # the next connection prepares it again
                if reason is not None:
                    metrics.COMMIT_REPEATS.labels(statement=statement.name, reason=reason).inc()
                if reason == "lost":
                    self._session.close()
                elif error.pgcode == errorcodes.QUERY_CANCELED:
                    raise StoreUnavailable("the statement took too long") from error
                elif reason != "conflict":
                    raise
                if time.monotonic() + pause_s > deadline:
                    raise StoreUnavailable(str(error).strip()) from error
            except UnreadableRows:
                raise
            except BaseException:
                self._session.close()  # cancelled while the statement was under way
                raise
            await asyncio.sleep(_jittered(pause_s))
            pause_s = min(pause_s * 2, 0.5)

    async def _execute(
        self, statement: Statement[Any, Any], calls: Sequence[_Call]
    ) -> list[Sequence[Row]]:
        rows = f"[{','.join(call.row for call in calls)}]"
        name, answer_key = statement.prepared, statement.answer_key
        answers = await self._session.execute(statement.sql, name=name, rows=rows)
        if statement.follow_up and len(set(map(answer_key, answers))) < len(calls):
            answers += await self._session.execute(
                statement.follow_up, name=f"{name}_more", rows=rows
            )
        by_key: dict[Hashable, list[Row]] = {}
        for answer in answers:
            by_key.setdefault(answer_key(answer), []).append(answer)
        return [by_key.get(call.key, []) for call in calls]


def _result(call: _Call, answer: Sequence[Row] | Exception) -> Any:
    if isinstance(answer, UnreadableRows) and call.statement.salvage is not None:
        return call.statement.salvage(call.item, answer.readable)
    if isinstance(answer, Exception):
        return answer
    try:
        return call.statement.result(call.item, answer)
    except Exception as error:
        log.exception("rows not understood", statement=call.statement.name)
        return error


def _time_out(answer: "asyncio.Future[Any]", name: str) -> None:
    if not answer.done():
        answer.set_exception(_late(name))


def _late(name: str) -> StoreUnavailable:
    return StoreUnavailable(f"{name}: no answer in time")


def _refused(statement: Statement[Any, Any], error: Exception) -> Exception:
    log.error("statement refused", statement=statement.name, error=str(error))
    return error


def _rounds(calls: Sequence[_Call]) -> list[list[_Group]]:
    """Indexes into `calls`, grouped by statement and sorted by key; groups that met a lock run last.

    A round contains each key once. The next write of a key belongs to the next round, so that two
    writes to one row keep their order.
    """
    rounds: list[dict[tuple[bool, str], dict[Hashable, int]]] = []
    writes: Counter[Hashable] = Counter()
    for index, call in enumerate(calls):
        if writes[call.key] == len(rounds):
            rounds.append({})
        groups = rounds[writes[call.key]]
        groups.setdefault((call.met_a_lock, call.statement.name), {})[call.key] = index
        writes[call.key] += 1
    return [
        [_sorted_group(calls, groups[kind]) for kind in sorted(groups, key=_locked_last)]
        for groups in rounds
    ]


def _locked_last(kind: tuple[bool, str]) -> bool:
    met_a_lock, _ = kind
    return met_a_lock


def _sorted_group(calls: Sequence[_Call], group: Mapping[Hashable, int]) -> _Group:
    indexes = [group[key] for key in sorted(group, key=str)]
    return calls[indexes[0]].statement, indexes


def _jittered(pause_s: float) -> float:
    return pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
