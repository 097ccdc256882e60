"""The rows of an answer. Some may have no value in Python: text in another encoding, years after 9999."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import extensions

from order_engine.execution.domain.errors import Unreadable

Row = Mapping[str, Any]

CAUSES = (ValueError, ArithmeticError, RecursionError, psycopg2.DataError)


class UnreadableRows(Unreadable):
    """Some rows of an answer cannot be read; `readable` are the others. The statement has run."""

    def __init__(self, readable: Sequence[Row], causes: Sequence[Exception]) -> None:
        super().__init__(f"rows that cannot be read: {len(causes)}, the first because {causes[0]}")
        self.readable = readable
        self.missing = len(causes)


def fetched(cursor: extensions.cursor) -> list[Row]:
    """The rows of an answer. Raises UnreadableRows when not all can be read."""
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    try:
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except CAUSES:
        readable, causes = _one_by_one(cursor, names)
        raise UnreadableRows(readable, causes) from None


def _one_by_one(
    cursor: extensions.cursor, names: Sequence[str]
) -> tuple[list[Row], list[Exception]]:
    readable: list[Row] = []
    causes: list[Exception] = []
    for number in range(cursor.rowcount):
        cursor.scroll(number, mode="absolute")
        try:
            readable.append(dict(zip(names, cursor.fetchone() or (), strict=True)))
        except CAUSES as error:
            causes.append(error)
    return readable, causes
