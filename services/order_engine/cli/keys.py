"""Create, list and revoke API keys, in the engine's database (DATABASE_URL)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from order_engine.cli.stores import console, end
from order_engine.execution.accounts.api_keys import ApiKey, ApiKeys
from order_engine.execution.domain.accounts import ACCOUNT_PATTERN, LABEL_CHARS_MAX, Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import PostgresSettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader

NAME = "order-engine-keys"

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def create(
    account: Annotated[str, typer.Argument(help="Account of the orders that the key can use.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key allows; may be repeated.")],
    label: Annotated[str, typer.Option(help="A name shown in the list.")] = "",
) -> None:
    """Create a key and print it. It cannot be shown again."""
    if not re.fullmatch(ACCOUNT_PATTERN, account):
        raise typer.BadParameter(
            "must be 1 to 64 of a-z 0-9 . _ - and start with a letter or digit"
        )
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise typer.BadParameter(
            f"a label must have at most {LABEL_CHARS_MAX} printable characters"
        )

    async def created(keys: ApiKeys) -> int:
        _, secret = await keys.make(AccountId(account), scope, label=label)
        print(secret)  # noqa: T201 - nothing else on stdout, so that scripts can read it
        return 0

    _end(created)


@app.command("list")
def list_(
    account: Annotated[str | None, typer.Argument(help="Only the keys of this account.")] = None,
) -> None:
    """List the keys and when each was last used."""

    async def listed(keys: ApiKeys) -> int:
        table = Table("key", "account", "scopes", "label", "last used", "revoked", box=None)
        for key in await keys.all(None if account is None else AccountId(account)):
            table.add_row(*_row(key))
        console.print(table)
        return 0

    _end(listed)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The 16 hexadecimal digits after oe_.")],
) -> None:
    """Revoke a key. It is refused from the next request on."""

    async def revoked(keys: ApiKeys) -> int:
        if await keys.revoke(key_id) is None:
            console.print(f"no key {key_id}", style="red", markup=False)
            return 1
        console.print(f"revoked key {key_id}", markup=False)
        return 0

    _end(revoked)


def _end(work: Callable[[ApiKeys], Awaitable[int]]) -> NoReturn:
    async def with_keys() -> int:
        async with _keys() as keys:
            return await work(keys)

    end(with_keys())


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
    times = (key.last_used_at, key.revoked_at)
    return [
        key.id,
        key.account_id,
        " ".join(sorted(key.scopes)),
        escape(key.label),
        *("" if time is None else f"{time:%Y-%m-%d %H:%M}" for time in times),
    ]
