"""Runs the whole engine: datastores, migrations and every process.

The processes stop before the servers that they use. When this process ends, even by kill -9, the
others end too: each reads from a pipe to it (`tether`, `keeper`).
"""

import argparse
import asyncio
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path

import redis

from order_engine.execution.setting_sources import read_settings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.local.announcement import announcement
from order_engine.local.datastores import local_datastores
from order_engine.local.fleet import Fleet
from order_engine.local.programs import listening_port, local_programs
from order_engine.local.settings import LocalSettings
from order_engine.local.supervision import Engine, supervise
from order_engine.local.terminal import report

DESCRIPTION = "Runs the whole engine on this machine until Ctrl-C."
DIRECTORY = Path(".local")
CLOSE_S = 10  # what a process may take to stop after its drain


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m order_engine.local", description=DESCRIPTION)
    parser.add_argument(
        "--reload", action="store_true", help="start again after each change of a source file"
    )
    arguments = parser.parse_args()
    settings = read_settings(LocalSettings)
    if not settings.database_url:
        _forget_other_postgres()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the locale may lack a character
    for number in (signal.SIGINT, signal.SIGTERM):  # until the event loop has its own handlers
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(_run(settings, reload=arguments.reload))
    except KeyboardInterrupt:
        sys.exit(0)


def _forget_other_postgres() -> None:
    """Removes what libpq would apply to the connections to the embedded PostgreSQL."""
    for name in [name for name in os.environ if name.startswith("PG")]:  # noqa: TID251 - as it says
        del os.environ[name]  # noqa: TID251


def _run(settings: LocalSettings, *, reload: bool) -> int:
    port = _port(settings)
    programs = local_programs(settings, port=port)
    if settings.has_redis:
        _check_redis(settings)
    report("starting (the first start takes a few seconds longer)")
    with local_datastores(settings, DIRECTORY) as datastores:
        fleet = Fleet(
            programs,
            environment={
                **datastores.environment,
                "HOST": settings.host,
                "PORT": str(port),
                "LOG_LEVEL": _log_level(settings, reload=reload),
                "VENUE_VOLATILITY": str(settings.venue_volatility),
                "VENUE_PRICE_BOARD": str(settings.venue_price_board),
            },
            admin_host=settings.admin_host,
            grace_s=settings.drain_s + CLOSE_S,
        )
        text = announcement(settings, programs, datastores, port=port)
        engine = Engine(fleet=fleet, datastores=datastores, ready_text=text, reload=reload)
        return asyncio.run(supervise(engine))


def _port(settings: LocalSettings) -> int:
    try:
        return listening_port(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        raise SystemExit(f"cannot start: {where}: {error.strerror} (set PORT to another)") from None


def _check_redis(settings: LocalSettings) -> None:
    for url in {settings.queue_url, settings.pubsub_url}:
        try:
            redis_client(url).ping()
        except redis.RedisError as error:
            raise SystemExit(f"cannot start: Redis does not answer: {error}") from None


def _log_level(settings: LocalSettings, *, reload: bool) -> str:
    """LOG_LEVEL; by default warnings only, or with `reload` every transition of every order."""
    if settings.has_log_level:
        return settings.log_level
    return "INFO" if reload else "WARNING"
