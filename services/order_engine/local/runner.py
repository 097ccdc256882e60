"""The whole engine by one command: datastores, migrations, every process, and their end.

The engine's processes end before the servers they work with. Whatever ends this process, kill -9
included, ends the others: each holds a pipe to it (`tether`, `keeper`).
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import redis

from order_engine.execution.settings import read_settings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.local.announcement import announcement
from order_engine.local.datastores import local_datastores
from order_engine.local.fleet import Fleet
from order_engine.local.programs import listening_port, local_programs
from order_engine.local.settings import LocalSettings
from order_engine.local.sources import Sources
from order_engine.local.supervision import Engine, supervise
from order_engine.local.terminal import Terminal

DIRECTORY = Path(".local")
CLOSE_S = 10  # what a process may take beyond its drain


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m order_engine.local", description=__doc__)
    parser.add_argument("--reload", action="store_true", help="start again when a source changes")
    arguments = parser.parse_args()
    settings = read_settings(LocalSettings)
    for number in (signal.SIGINT, signal.SIGTERM):  # until the event loop has its own handlers
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(_run(settings, sources=Sources() if arguments.reload else None))
    except KeyboardInterrupt:
        sys.exit(0)


def _run(settings: LocalSettings, *, sources: Sources | None) -> int:
    port = _port(settings)
    programs = local_programs(settings, port=port)
    if settings.has_redis:
        _check_redis(settings)
    terminal = Terminal(program.name for program in programs)
    terminal.say("starting (the first time takes a few seconds more)")
    with local_datastores(settings, DIRECTORY) as datastores:
        fleet = Fleet(
            programs,
            terminal,
            environment={
                **datastores.environment,
                "HOST": settings.host,
                "PORT": str(port),
                "LOG_LEVEL": _log_level(settings, sources),
            },
            admin_host=settings.admin_host,
            grace_s=settings.drain_s + CLOSE_S,
        )
        text = announcement(settings, programs, datastores, port=port)
        engine = Engine(
            fleet=fleet, datastores=datastores, terminal=terminal, ready_text=text, sources=sources
        )
        return asyncio.run(supervise(engine))


def _port(settings: LocalSettings) -> int:
    try:
        return listening_port(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        raise SystemExit(f"cannot start: {where}: {error.strerror} (PORT sets another)") from None


def _check_redis(settings: LocalSettings) -> None:
    for url in {settings.queue_url, settings.pubsub_url}:
        try:
            redis_client(url).ping()
        except redis.RedisError as error:
            raise SystemExit(f"cannot start: Redis does not answer: {error}") from None


def _log_level(settings: LocalSettings, sources: Sources | None) -> str:
    """Unless the user says otherwise: quiet, or while developing every move of every order."""
    if settings.has_log_level:
        return settings.log_level
    return "INFO" if sources else "WARNING"
