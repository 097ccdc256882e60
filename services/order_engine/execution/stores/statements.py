"""What a statement of the group commit is: SQL over many rows, and how inputs map to rows."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from order_engine.execution.stores.rows import Row

In = TypeVar("In")
Out = TypeVar("Out")


@cache
def _field_names(kind: Any) -> Sequence[str]:
    return [field.name for field in fields(kind)]


def as_row(item: Any) -> Row:
    """The fields of a dataclass as an object that `json.dumps(..., default=json_value)` accepts."""
    names = _field_names(type(item))  # type: ignore[arg-type]  # a class is hashable
    return {name: getattr(item, name) for name in names}


def json_value(value: object) -> str:
    """A value as text that PostgreSQL casts back without loss. For `json.dumps(default=...)`."""
    match value:
        case datetime():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _no_events(_: Any) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, kw_only=True)  # without slots, for the cached property
class Statement(Generic[In, Out]):
    """One kind of statement, over many rows at once: a write, or a read that callers share.

    - `key` names the row that an input locks. A batch is sorted by key and contains each key once.
    - `row` turns an input into the object that the SQL reads from %(rows)s by json_to_recordset,
      which ignores fields that the SQL does not list. By default: the fields of a dataclass.
    - `answer_key` finds the input of a returned row.
    - `result` receives the returned rows of one input; none when the statement did not apply.
    - `events` are those that a result says were committed by this call.
    - `follow_up` runs on the same connection when the statement returned no row for some input.
      Its rows are added.
    - `salvage` receives the rows that can be read when others of the same input cannot; without it,
      the call fails.
    """

    name: str
    sql: str
    key: Callable[[In], Hashable]
    answer_key: Callable[[Row], Hashable]
    result: Callable[[In, Sequence[Row]], Out]
    row: Callable[[In], Row] = as_row
    follow_up: str | None = None
    events: Callable[[Out], Sequence[Any]] = _no_events
    salvage: Callable[[In, Sequence[Row]], Out] | None = None

    @cached_property
    def prepared(self) -> str:
        """The name that the statement is prepared under. Other versions of it have other names."""
        digest = hashlib.sha256(f"{self.sql}{self.follow_up}".encode()).hexdigest()
        return f"{self.name}_{digest[:12]}"
