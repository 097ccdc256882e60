"""Commands that use the database of the engine or of the chain."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

import psycopg2
import typer
from rich.console import Console

from order_engine.execution.domain.errors import StoreUnavailable

console = Console()


def end(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Runs a command to its exit code; an error of PostgreSQL is one line."""
    raise typer.Exit(asyncio.run(_guarded(work)))


async def _guarded(work: Coroutine[Any, Any, int]) -> int:
    try:
        return await work
    except (StoreUnavailable, psycopg2.Error) as error:
        console.print(str(error).strip().partition("\n")[0], style="red", markup=False)
        return 1
