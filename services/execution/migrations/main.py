"""Brings the schemas of the engine and of the simulated chain up to this version; safe to repeat."""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

from execution.logs import configure_logs
from execution.settings import MigrateSettings, read_settings

log = structlog.get_logger()


def migrate(url: str, *, history: str) -> None:
    """Applies `orders` or `chain` to the database at `url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / history))
    dsn = url.replace("postgres://", "postgresql://", 1).replace(
        "postgresql://", "postgresql+psycopg2://", 1
    )
    config.set_main_option("sqlalchemy.url", dsn.replace("%", "%%"))
    command.upgrade(config, "head")


def main() -> None:
    settings = read_settings(MigrateSettings)
    configure_logs(level=settings.log_level, deployable="migrate")
    for history, url in (("orders", settings.database_url), ("chain", settings.ledger_url)):
        try:
            migrate(url, history=history)
        except OperationalError as error:
            raise SystemExit(f"cannot migrate {history}: {str(error.orig).strip()}") from None
        log.info("migrated", history=history)
