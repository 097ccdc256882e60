"""Gateways for the tests, open or asking for keys, and the keys that open them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from order_engine.execution.accounts.api_keys import ApiKey, ApiKeys
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import GatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.gateway.app import gateway_app
from support.serving import running
from support.stores import Databases, Stores

NAME = "test"


@contextmanager
def running_gateway(databases: Databases, stores: Stores, **given: Any) -> Iterator[str]:
    """The address of a gateway on these stores; `given` are settings."""
    settings = GatewaySettings(
        _env_file=None,
        database_url=databases.orders_url,
        redis_url=stores.redis_url,
        **given,
    )
    with running(gateway_app(settings)) as address:
        yield address


@asynccontextmanager
async def orders_in(databases: Databases) -> AsyncIterator[Orders]:
    """The orders, as a worker would open them."""
    commits = GroupCommit(databases.orders_url, application_name=NAME)
    reader = Reader(databases.orders_url, application_name=NAME, connections_max=1)
    orders = Orders(commits, reader, claimer=Claimer(name=NAME, lease_s=10))
    yield orders
    orders.close()


def a_new_key(
    databases: Databases, *scopes: Scope, account: str = "acme", revoked: bool = False
) -> tuple[ApiKey, str]:
    """A key, and the secret that its owner shows."""

    async def make() -> tuple[ApiKey, str]:
        commits = GroupCommit(databases.orders_url, application_name=NAME)
        keys = ApiKeys(
            commits, Reader(databases.orders_url, application_name=NAME, connections_max=1)
        )
        made, secret = await keys.make(AccountId(account), scopes, label="test")
        if revoked:
            await keys.revoke(made.id)
        commits.close()
        return made, secret

    return asyncio.run(make())


def showing(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
