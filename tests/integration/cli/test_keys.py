"""`order-engine keys`: what is wrong is one line, and no label can break the list."""

import asyncio
import subprocess

import pytest

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.cli import order_engine
from support.stores import Databases


def keys_command(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return order_engine(url, "keys", *arguments)


async def labelled(url: str, label: str) -> str:
    commits = GroupCommit(url, application_name="test")
    reader = Reader(url, application_name="test", connections_max=1)
    try:
        key, _ = await ApiKeys(commits, reader).make(AccountId("alice"), [Scope.READ], label=label)
        return key.id
    finally:
        commits.close()
        reader.close()


@pytest.mark.parametrize("label", ["[/red] [bold]", "[link=x]", "[", "plain"])
def test_a_label_is_shown_unchanged(databases: Databases, label: str) -> None:
    key_id = asyncio.run(labelled(databases.orders_url, label))
    listed = keys_command(databases.orders_url, "list")

    assert listed.returncode == 0
    assert key_id in listed.stdout
    assert label in listed.stdout


@pytest.mark.parametrize("label", ["a\x1bb", "x" * 65, "\u202ex"])
def test_a_label_that_http_would_refuse_is_refused(databases: Databases, label: str) -> None:
    refused = keys_command(
        databases.orders_url, "create", "alice", "--scope=read", f"--label={label}"
    )

    assert refused.returncode == 2
    assert "label" in refused.stderr


def test_an_invalid_key_is_reported_in_one_line(databases: Databases) -> None:
    refused = keys_command(databases.orders_url, "revoke", "[/x]")

    assert refused.returncode == 1
    assert refused.stdout == "no key [/x]\n"


def test_a_database_without_the_schema_is_reported_in_one_line(databases: Databases) -> None:
    refused = keys_command(databases.chain_url, "list")

    assert refused.returncode == 1
    assert "Traceback" not in refused.stdout + refused.stderr
    assert "api_keys" in refused.stdout
