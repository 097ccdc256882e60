"""API keys, made where DATABASE_URL opens the engine's own database: the first one must come so."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import psycopg2
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from order_engine.execution.accounts.api_keys import ApiKey, ApiKeys
from order_engine.execution.domain.accounts import ACCOUNT_PATTERN, LABEL_CHARS_MAX, Scope
from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.settings import PostgresSettings, read_settings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader

NAME = "order-engine-keys"

app = typer.Typer(help=__doc__, no_args_is_help=True)
console = Console()


@app.command()
def create(
    account: Annotated[str, typer.Argument(help="Whose orders the key places and reads.")],
    scope: Annotated[list[Scope], typer.Option(help="What it opens; again for more.")],
    label: Annotated[str, typer.Option(help="What you will know it by.")] = "",
) -> None:
    """Make a key, and show it once."""
    if not re.fullmatch(ACCOUNT_PATTERN, account):
        raise typer.BadParameter("1 to 64 of a-z 0-9 . _ - that begin with a letter or digit")
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise typer.BadParameter(f"a label has up to {LABEL_CHARS_MAX} visible characters")

    async def created(keys: ApiKeys) -> int:
        _, secret = await keys.make(AccountId(account), scope, label=label)
        print(secret)  # noqa: T201 - alone on stdout, for a script to take
        return 0

    _end(created)


@app.command("list")
def list_(
    account: Annotated[str | None, typer.Argument(help="Of one account only.")] = None,
) -> None:
    """Show which keys there are, and when each was used last."""

    async def listed(keys: ApiKeys) -> int:
        table = Table("key", "account", "scopes", "label", "last used", "revoked", box=None)
        for key in await keys.all(None if account is None else AccountId(account)):
            table.add_row(*_row(key))
        console.print(table)
        return 0

    _end(listed)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The 16 digits after oe_.")]) -> None:
    """Refuse a key from now on."""

    async def revoked(keys: ApiKeys) -> int:
        if await keys.revoke(key_id) is None:
            console.print(f"no key {key_id}", style="red", markup=False)
            return 1
        console.print(f"{key_id} opens nothing any more", markup=False)
        return 0

    _end(revoked)


def _end(work: Callable[[ApiKeys], Awaitable[int]]) -> None:
    raise typer.Exit(asyncio.run(_guarded(work)))


async def _guarded(work: Callable[[ApiKeys], Awaitable[int]]) -> int:
    try:
        async with _keys() as keys:
            return await work(keys)
    except (StoreUnavailable, psycopg2.Error) as error:
        console.print(str(error).strip(), style="red", markup=False)
        return 1


@asynccontextmanager
async def _keys() -> AsyncIterator[ApiKeys]:
    url = read_settings(PostgresSettings).database_url
    commits = GroupCommit(url, application_name=NAME)
    reader = Reader(url, application_name=NAME, connections_max=1)
    try:
        yield ApiKeys(commits, reader)
    finally:
        commits.close()
        reader.close()


def _row(key: ApiKey) -> list[str]:
    moments = (key.last_used_at, key.revoked_at)
    return [
        key.id,
        key.account_id,
        " ".join(sorted(key.scopes)),
        escape(key.label),
        *("" if moment is None else f"{moment:%Y-%m-%d %H:%M}" for moment in moments),
    ]
