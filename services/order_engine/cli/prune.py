"""Moves old orders out of the engine's database (DATABASE_URL)."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Annotated

import psycopg2
import typer
from rich.console import Console

from order_engine.execution.orders.pruning import prune
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import PostgresSettings
from order_engine.execution.stores.connections import connect

NAME = "order-engine-prune"

console = Console(stderr=True)


def prune_orders(
    older_than_days: Annotated[
        int, typer.Option(min=1, help="Days since the last change of an order.")
    ] = 90,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Orders in one transaction.")] = 500,
    archive: Annotated[
        Path | None, typer.Option(help="File to append the orders to, one JSON object a line.")
    ] = None,
) -> None:
    """Remove orders that are final and old; their idempotency keys may be used again."""
    try:
        removed = _pruned(days=older_than_days, batch=batch, archive=archive)
    except (OSError, psycopg2.Error) as error:
        console.print(str(error).strip(), style="red", markup=False)
        raise typer.Exit(1) from None
    print(removed)  # noqa: T201 - nothing else on stdout, so that scripts can read it


def _pruned(*, days: int, batch: int, archive: Path | None) -> int:
    """How many orders were removed."""
    url = read_settings(PostgresSettings).database_url
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(url, application_name=NAME)))
        connection.autocommit = False
        file = stack.enter_context(archive.open("ab")) if archive is not None else None
        return prune(
            connection, days=days, batch=batch, before_commit=lambda orders: _append(file, orders)
        )


def _append(file: IO[bytes] | None, orders: Sequence[bytes]) -> None:
    """Returns once the orders are on the disk, because they leave the database next."""
    if file is not None:
        file.writelines(order + b"\n" for order in orders)
        file.flush()
        os.fsync(file.fileno())
