"""What both histories of migrations share, orders and chain: alembic over plain SQL."""

from pathlib import Path

import psycopg2
from alembic import context, op
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from order_engine.execution.domain.errors import ExecutionError

# An arbitrary number, the same in every process that migrates.
LOCK = 7_305_188_214
CONNECT_TIMEOUT_S = 10
OLDEST_VERSION = 14  # the first with Infinity in numeric


class PostgresTooOld(ExecutionError):
    """The server is older than OLDEST_VERSION."""


def run(*, schema: str) -> None:
    """Applies the history to the configured URL: one transaction, one process at a time.

    The lock ends with the transaction, so a pooler in transaction mode works. libpq parses the URL,
    not SQLAlchemy, so several hosts and every option mean the same as in the other processes.
    Raises PostgresTooOld before it changes anything.
    """
    url = context.config.attributes["url"]
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(
            url, application_name="migrate", connect_timeout=CONNECT_TIMEOUT_S
        ),
        poolclass=NullPool,
    )
    with engine.begin() as connection:
        _refuse_old(connection)
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        context.configure(
            connection=connection, version_table="schema_version", version_table_schema=schema
        )
        context.run_migrations()


def _refuse_old(connection: Connection) -> None:
    number = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    if int(number) // 10_000 < OLDEST_VERSION:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        raise PostgresTooOld(
            f"PostgreSQL {version} is too old: {OLDEST_VERSION} or later is required"
        )


def apply_sql(revision_file: str) -> None:
    """Runs the SQL file beside a revision."""
    op.get_bind().exec_driver_sql(Path(revision_file).with_suffix(".sql").read_text())
