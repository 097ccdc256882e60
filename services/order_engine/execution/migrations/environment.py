"""What both histories of migrations share, orders and chain: alembic over plain SQL."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from alembic import context, op
from psycopg2.extensions import quote_ident
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.stores.connections import connect_unbounded
from order_engine.execution.stores.session_settings import UNBOUNDED

# An arbitrary number, the same in every process that migrates.
LOCK = 7_305_188_214
CONNECT_TIMEOUT_S = 10
OLDEST_VERSION = 14  # the first with Infinity in numeric


class Unsuitable(ExecutionError):
    """The server or the database cannot hold the schema."""


def connect(url: str) -> psycopg2.extensions.connection:
    """A connection that waits for locks and long statements, with the settings of all others."""
    return connect_unbounded(
        url, application_name="migrate", settings=UNBOUNDED, timeout_s=CONNECT_TIMEOUT_S
    )


def schema_of(cursor: psycopg2.extensions.cursor, *, history: str) -> str:
    """The name of a history's schema. That of the orders is the first in the search path."""
    if history != "orders":
        return history
    cursor.execute("SELECT current_schema(), current_setting('search_path')")
    [(existing, path)] = cursor.fetchall()
    if existing is None and not re.fullmatch(r"[a-z_][a-z0-9_]*", path):
        raise Unsuitable(f"no schema of the search path {path} exists: create one")
    return str(existing or path)


def run(*, history: str) -> None:
    """Applies the history to the configured URL: one transaction, one process at a time.

    The lock ends with the transaction, so a pooler in transaction mode works. libpq parses the URL,
    not SQLAlchemy, so several hosts and every option mean the same as in the other processes.
    Raises Unsuitable before it changes anything.
    """
    url = context.config.attributes["url"]

    def connect_for_alembic() -> psycopg2.extensions.connection:
        connection = connect(url)
        connection.autocommit = False
        return connection

    engine = create_engine(
        "postgresql+psycopg2://", creator=connect_for_alembic, poolclass=NullPool
    )
    with engine.begin() as connection:
        _refuse_unsuitable(connection)
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        with closing(connection.connection.cursor()) as cursor:
            schema = _made_schema(cursor, history=history)
        context.configure(
            connection=connection, version_table="schema_version", version_table_schema=schema
        )
        context.run_migrations()


def _made_schema(cursor: Any, *, history: str) -> str:
    schema = schema_of(cursor, history=history)
    cursor.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", (schema,))
    if cursor.fetchone() == (True,):
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_ident(schema, cursor)}")
    return schema


def _refuse_unsuitable(connection: Connection) -> None:
    number = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    if int(number) // 10_000 < OLDEST_VERSION:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        raise Unsuitable(f"PostgreSQL {version} is too old: {OLDEST_VERSION} or later is required")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise Unsuitable(
            f"the database has the encoding {encoding}: create one with ENCODING 'UTF8'"
            " TEMPLATE template0"
        )


def apply_sql(revision_file: str) -> None:
    """Runs the SQL file beside a revision."""
    op.get_bind().exec_driver_sql(Path(revision_file).with_suffix(".sql").read_text())
