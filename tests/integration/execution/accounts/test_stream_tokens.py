"""Stream tokens in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import ANYONE, Caller, Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.evidence import rows
from support.stores import Databases, execute

ALICE = AccountId("alice")
BOTH = [Scope.TRADE, Scope.READ]


def run(databases: Databases, work: Callable[[ApiKeys, StreamTokens], Awaitable[None]]) -> None:
    async def bounded() -> None:
        commits = GroupCommit(databases.orders_url, application_name="test", deadline_s=1)
        reader = Reader(databases.orders_url, application_name="test", connections_max=1)
        try:
            async with asyncio.timeout(30):
                await work(ApiKeys(commits, reader), StreamTokens(commits))
        finally:
            commits.close()
            reader.close()

    asyncio.run(bounded())


def test_a_stream_token_is_redeemed_once_and_is_not_an_api_key(databases: Databases) -> None:
    async def work(keys: ApiKeys, tokens: StreamTokens) -> None:
        made, secret = await keys.make(ALICE, BOTH)
        caller = await keys.caller(secret)
        assert caller is not None
        token = await tokens.issue(caller)
        outcomes = await asyncio.gather(*(tokens.redeem(token) for _ in range(20)))

        [redeemed] = [outcome for outcome in outcomes if outcome is not None]
        assert redeemed == Caller(account_id=ALICE, scopes=frozenset({Scope.READ}), key_id=made.id)
        assert await tokens.redeem(token) is None
        assert await keys.caller(token) is None

    run(databases, work)


def test_a_stream_token_is_stored_nowhere(databases: Databases) -> None:
    async def work(_: ApiKeys, tokens: StreamTokens) -> None:
        token = await tokens.issue(ANYONE)
        stored = str(rows(databases.orders_url, "SELECT * FROM stream_tokens"))

        assert token.rpartition("_")[2] not in stored

    run(databases, work)


def test_an_expired_stream_token_is_refused(databases: Databases) -> None:
    async def work(_: ApiKeys, tokens: StreamTokens) -> None:
        token = await tokens.issue(ANYONE)
        execute(databases.orders_url, "UPDATE stream_tokens SET expires_at = now()")

        assert await tokens.redeem(token) is None

    run(databases, work)


def test_a_stream_token_of_a_revoked_key_is_refused(databases: Databases) -> None:
    async def work(keys: ApiKeys, tokens: StreamTokens) -> None:
        made, secret = await keys.make(ALICE, BOTH)
        caller = await keys.caller(secret)
        assert caller is not None
        token = await tokens.issue(caller)
        await keys.revoke(made.id)

        assert await tokens.redeem(token) is None

    run(databases, work)


def test_issuing_a_stream_token_deletes_the_expired_ones(databases: Databases) -> None:
    async def work(_: ApiKeys, tokens: StreamTokens) -> None:
        await asyncio.gather(*(tokens.issue(ANYONE) for _ in range(20)))
        execute(
            databases.orders_url, "UPDATE stream_tokens SET expires_at = now() - interval '1 hour'"
        )
        await tokens.issue(ANYONE)

        assert len(rows(databases.orders_url, "SELECT 1 FROM stream_tokens")) == 1

    run(databases, work)
