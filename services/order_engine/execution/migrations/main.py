"""Migrates the schemas of the engine and of the simulated chain to this version, or waits for it.

Safe to repeat. A schema newer than this version is left unchanged and counts as migrated: migrations
only add, so an older version runs on a newer schema.
"""

import argparse
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import structlog
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from psycopg2 import errorcodes
from psycopg2.extensions import quote_ident
from sqlalchemy.exc import DBAPIError

from order_engine.execution.logs import configure_logs
from order_engine.execution.migrations.environment import Unsuitable, connect, schema_of
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import MigrateSettings
from order_engine.execution.stores.addresses import fault_of

HISTORIES = ("orders", "chain")
NO_SCHEMA_YET = (errorcodes.UNDEFINED_TABLE, errorcodes.INVALID_SCHEMA_NAME)
RETRY_S = 1.0

log = structlog.get_logger()


def migrate(url: str, *, history: str) -> None:
    """Applies `orders` or `chain` to the database at `url`, unless its schema is newer."""
    config = _config(history)
    config.attributes["url"] = url
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        log.info("not migrated: the schema is newer than this version", history=history)


def is_migrated(url: str, *, history: str) -> bool:
    """Whether the schema is at this version or newer. Raises psycopg2.Error on a failed query."""
    scripts = ScriptDirectory.from_config(_config(history)).walk_revisions()
    revisions = [script.revision for script in scripts]  # newest first
    current = _current(url, history=history)
    return current is not None and (current == revisions[0] or current not in revisions)


def _config(history: str) -> Config:
    config = Config()
    location = str(Path(__file__).parent / history)
    config.set_main_option(
        "script_location", location.replace("%", "%%")
    )  # as configparser wants it
    return config


def _current(url: str, *, history: str) -> str | None:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        try:
            schema = schema_of(cursor, history=history)
            table = f"{quote_ident(schema, cursor)}.schema_version"
            cursor.execute(f"SELECT version_num FROM {table}")  # noqa: S608 - quoted
        except psycopg2.Error as error:
            if error.pgcode in NO_SCHEMA_YET:
                return None
            raise
        row = cursor.fetchone()
        return None if row is None else str(row[0])


def main() -> None:
    arguments = _arguments()
    settings = read_settings(MigrateSettings)
    configure_logs(level=settings.log_level, deployable="migrate")
    urls = {"orders": settings.database_url, "chain": settings.ledger_url}
    deadline = time.monotonic() + arguments.within
    for history in arguments.histories or HISTORIES:
        while reason := _not_done(urls[history], history=history, waits=arguments.wait):
            if time.monotonic() >= deadline:
                verb = "wait for" if arguments.wait else "migrate"
                raise SystemExit(f"cannot {verb} {history}: {reason}")
            log.info("not migrated yet, retrying", history=history, reason=reason)
            time.sleep(RETRY_S)
        log.info("migrated", history=history)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="migrate", description=__doc__)
    # `choices` would reject the empty list that means both
    parser.add_argument(
        "histories", nargs="*", metavar="orders|chain", help="which schemas; both by default"
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="change nothing; wait until another process has migrated",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long to retry (0: one try)",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.histories) - set(HISTORIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))} (accepted: orders, chain)")
    return arguments


def _not_done(url: str, *, history: str, waits: bool) -> str | None:
    """Why to retry; None when done. Raises SystemExit when a retry cannot help."""
    if fault := fault_of(url):
        raise SystemExit(f"cannot migrate {history}: {fault}")
    try:
        if waits:
            return None if is_migrated(url, history=history) else "the schema is not migrated yet"
        migrate(url, history=history)
    except Unsuitable as error:
        raise SystemExit(f"cannot migrate {history}: {error}") from None
    except (psycopg2.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return " ".join(str(cause).split())  # an error of libpq has several lines
    return None
