from collections.abc import Iterator

import pytest

from order_engine.execution.settings import GatewaySettings
from order_engine.gateway.app import gateway_app
from support.gateway_client import some_settings
from support.serving import running
from support.stores import Databases, Stores, fresh_databases


@pytest.fixture(scope="module")
def shared_databases(stores: Stores) -> Iterator[Databases]:
    """One pair of databases for all tests of a module: each test places its own orders."""
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture
def settings(shared_databases: Databases, redis_url: str) -> GatewaySettings:
    return some_settings(database_url=shared_databases.orders_url, redis_url=redis_url)


@pytest.fixture(scope="module")
def gateway(shared_databases: Databases, stores: Stores) -> Iterator[str]:
    """The address of one gateway for all tests of a module."""
    settings = some_settings(database_url=shared_databases.orders_url, redis_url=stores.redis_url)
    with running(gateway_app(settings)) as address:
        yield address
