"""API keys in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import Caller, Scope
from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.evidence import rows
from support.stores import Databases, execute

ALICE, BOB = AccountId("alice"), AccountId("bob")
BOTH = [Scope.TRADE, Scope.READ]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ApiKeys]:
    commits = GroupCommit(url, application_name="test", deadline_s=1)
    reader = Reader(url, application_name="test", connections_max=1)
    try:
        yield ApiKeys(commits, reader)
    finally:
        commits.close()
        reader.close()


def run(databases: Databases, work: Callable[[ApiKeys], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30), opened(databases.orders_url) as keys:
            await work(keys)

    asyncio.run(bounded())


def statements_of(name: str) -> float:
    labels = {"statement": name}
    return REGISTRY.get_sample_value("order_engine_commit_seconds_count", labels) or 0.0


def test_a_key_identifies_its_account_and_scopes(databases: Databases) -> None:
    async def work(keys: ApiKeys) -> None:
        made, secret = await keys.make(ALICE, BOTH, label="the bot")

        assert await keys.caller(secret) == Caller(
            account_id=ALICE, scopes=frozenset(BOTH), key_id=made.id
        )

    run(databases, work)


def test_the_secret_is_stored_nowhere(databases: Databases) -> None:
    async def work(keys: ApiKeys) -> None:
        _, secret = await keys.make(ALICE, BOTH)
        stored = str(rows(databases.orders_url, "SELECT * FROM api_keys"))

        assert secret.rpartition("_")[2] not in stored

    run(databases, work)


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        lambda secret: "oe_" + "0" * 16 + secret[19:],
        lambda secret: secret.upper(),
        lambda secret: secret + "0",
        lambda secret: secret[:-1],
        lambda secret: f" {secret}",
        lambda secret: "",
        lambda secret: "oe_x_y",
        lambda secret: "\x00" * 84,
    ],
)
def test_a_malformed_or_wrong_key_has_no_caller(
    databases: Databases, change: Callable[[str], str]
) -> None:
    async def work(keys: ApiKeys) -> None:
        _, secret = await keys.make(ALICE, BOTH)

        assert await keys.caller(change(secret)) is None

    run(databases, work)


def test_a_revoked_key_is_refused_by_every_process_from_the_next_check_on(
    databases: Databases,
) -> None:
    async def work(keys: ApiKeys) -> None:
        made, secret = await keys.make(ALICE, BOTH)
        async with opened(databases.orders_url) as elsewhere:
            assert await elsewhere.caller(secret) is not None
            revoked = await keys.revoke(made.id)

            assert revoked is not None
            assert revoked.revoked_at is not None
            assert await elsewhere.caller(secret) is None
            assert await elsewhere.valid([made.id]) == frozenset()

    run(databases, work)


def test_revoking_a_key_again_keeps_the_first_time(databases: Databases) -> None:
    async def work(keys: ApiKeys) -> None:
        made, _ = await keys.make(ALICE, BOTH)

        assert await keys.revoke(made.id) == await keys.revoke(made.id)
        assert await keys.revoke("0" * 16) is None

    run(databases, work)


def test_keys_are_listed_newest_first_with_their_last_use(databases: Databases) -> None:
    async def work(keys: ApiKeys) -> None:
        first, secret = await keys.make(ALICE, BOTH)
        second, _ = await keys.make(BOB, [Scope.ADMIN])
        await keys.caller(secret)
        listed = await keys.all()

        assert [key.id for key in listed] == [second.id, first.id]
        assert [key.last_used_at is not None for key in listed] == [False, True]
        assert [key.id for key in await keys.all(ALICE)] == [first.id]

    run(databases, work)


def test_concurrent_checks_share_statements(databases: Databases) -> None:
    async def work(keys: ApiKeys) -> None:
        _, secret = await keys.make(ALICE, BOTH)
        before = statements_of("check_key")
        callers = await asyncio.gather(*(keys.caller(secret) for _ in range(100)))

        assert len({caller and caller.account_id for caller in callers}) == 1
        assert statements_of("check_key") - before <= 5

    run(databases, work)


def test_the_database_refuses_an_unknown_scope(databases: Databases) -> None:
    made = "INSERT INTO api_keys (id, account_id, secret_hash, scopes) VALUES"

    with pytest.raises(Exception, match="api_keys_scopes_check"):
        execute(databases.orders_url, f"{made} ('{'0' * 16}', 'a', sha256(''), '{{\"root\"}}')")


def test_without_postgresql_a_key_is_neither_accepted_nor_refused() -> None:
    async def work() -> None:
        async with opened("postgresql://nobody@127.0.0.1:1/none") as keys:
            with pytest.raises(StoreUnavailable):
                await keys.caller(f"oe_{'0' * 16}_{'0' * 64}")

    asyncio.run(work())
