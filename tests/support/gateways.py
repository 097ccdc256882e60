"""Runs gateways and creates API keys for them."""

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
def running_gateway(databases: Databases, stores: Stores, **settings: Any) -> Iterator[str]:
    """Runs a gateway on these stores; yields `host:port`."""
    gateway_settings = GatewaySettings(
        _env_file=None,
        database_url=databases.orders_url,
        redis_url=stores.redis_url,
        **settings,
    )
    with running(gateway_app(gateway_settings), websockets=False) as address:
        yield address


@asynccontextmanager
async def open_orders(databases: Databases) -> AsyncIterator[Orders]:
    """The repository of orders, opened as an order-worker opens it."""
    commits = GroupCommit(databases.orders_url, application_name=NAME)
    reader = Reader(databases.orders_url, application_name=NAME, connections_max=1)
    orders = Orders(commits, reader, claimer=Claimer(name=NAME, lease_s=10))
    yield orders
    orders.close()


def new_api_key(
    databases: Databases, *scopes: Scope, account: str = "acme", revoked: bool = False
) -> tuple[ApiKey, str]:
    """Creates an API key. The secret is what a client sends."""

    async def create() -> tuple[ApiKey, str]:
        commits = GroupCommit(databases.orders_url, application_name=NAME)
        keys = ApiKeys(
            commits, Reader(databases.orders_url, application_name=NAME, connections_max=1)
        )
        key, secret = await keys.make(AccountId(account), scopes, label="test")
        if revoked:
            await keys.revoke(key.id)
        commits.close()
        return key, secret

    return asyncio.run(create())


def bearer_header(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
