"""What both histories, the engine's and the simulated chain's, share: alembic over plain SQL."""

from pathlib import Path

from alembic import context, op
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

# Any number will do, as long as every migrating process asks for the same one.
LOCK = 7_305_188_214


def run(*, schema: str) -> None:
    """Applies the history to the configured URL: one transaction, one migrator at a time.

    The lock lives and ends with the transaction, so that a transaction-mode pooler may stand
    between.
    """
    url = context.config.get_main_option("sqlalchemy.url")
    engine = create_engine(str(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        context.configure(
            connection=connection, version_table="schema_version", version_table_schema=schema
        )
        context.run_migrations()


def apply_sql(revision_file: str) -> None:
    """Runs the SQL file that stands beside a revision."""
    op.get_bind().exec_driver_sql(Path(revision_file).with_suffix(".sql").read_text())
