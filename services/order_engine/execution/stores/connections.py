"""Connections of threads to PostgreSQL, and what every session sets before it is used."""

import select
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import psycopg2
from psycopg2 import extensions

from order_engine.execution.stores.addresses import (
    CONNECT_TIMEOUT_S,
    connect_timeout_s,
    parameters_of,
)
from order_engine.execution.stores.session_settings import (
    READ_ONLY_BY_DEFAULT,
    SET_IN_SESSION,
    SET_IN_STATEMENT,
    SET_WRITABLE,
    session_settings,
)

Connection = extensions.connection
Cursor = extensions.cursor

REPLY_TIMEOUT_S = 7.0  # longer than statement_timeout: a server that does not report that is frozen

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def connect(url: str, *, application_name: str) -> Connection:
    """An autocommit connection for a thread, with bounded waits."""
    extensions.set_wait_callback(_wait_for_reply)
    return connect_unbounded(url, application_name=application_name, settings=NO_SETTINGS)


def connect_unbounded(
    url: str,
    *,
    application_name: str,
    settings: Mapping[str, str],
    timeout_s: int = CONNECT_TIMEOUT_S,
) -> Connection:
    """An autocommit connection that waits for a reply as long as its settings allow."""
    connection: Connection = psycopg2.connect(
        url, **parameters_of(url, application_name=application_name, timeout_s=timeout_s)
    )
    try:
        connection.autocommit = True
        _configure(connection, url, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: Connection, url: str, settings: Mapping[str, str]) -> None:
    values = values_of(connection, url, settings)
    with connection.cursor() as cursor:
        cursor.execute(SET_IN_SESSION, values)
        [(is_direct, _)] = cursor.fetchall()
        if not is_direct:
            cursor.execute(READ_ONLY_BY_DEFAULT)
            [(read_only,)] = cursor.fetchall()
            prefix = prefix_of(cursor, values, read_only=read_only)
            connection.cursor_factory = _prefixing(prefix)


def values_of(connection: Connection, url: str, settings: Mapping[str, str]) -> Mapping[str, Any]:
    """The parameters of SET_IN_SESSION. `settings` differ from those of other connections."""
    return {
        "pid": connection.get_backend_pid(),
        "settings": session_settings(
            url, of_caller=settings, server_version=connection.server_version
        ),
    }


def prefix_of(cursor: Cursor, values: Mapping[str, Any], *, read_only: bool) -> bytes:
    """What a statement begins with when a pooler may run the next one in another session.

    The statement is sent with it as one message, and so they are one transaction.
    """
    prefix: bytes = cursor.mogrify(SET_IN_STATEMENT, values)
    return SET_WRITABLE.encode() + prefix if read_only else prefix


def _prefixing(prefix: bytes) -> Callable[[Connection, str | bytes | None], Cursor]:
    class PrefixingCursor(Cursor):
        """Begins each transaction with the settings."""

        def execute(self, query: Any, vars: Any = None) -> None:
            text = self.mogrify(query, vars)
            begins = self.connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
            super().execute(prefix + text if begins else text)

    return PrefixingCursor


def _wait_for_reply(connection: Connection) -> None:
    """Bounds every wait of a thread, which without this callback waits for a frozen server forever.

    With the callback, psycopg2 ignores connect_timeout. It closes the connection when this raises.
    """
    connecting = connection.status == extensions.STATUS_SETUP
    wait_max_s = connect_timeout_s(connection) if connecting else REPLY_TIMEOUT_S
    deadline = time.monotonic() + wait_max_s
    while (state := connection.poll()) != extensions.POLL_OK:
        waiting = select.poll()  # select() itself fails beyond 1,024 open files
        waiting.register(
            connection, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN
        )
        if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise psycopg2.OperationalError(f"PostgreSQL gave no answer within {wait_max_s:g} s")
