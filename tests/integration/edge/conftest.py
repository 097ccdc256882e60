"""The engine as its clients reach it: at its own ports, and behind docker/nginx.conf."""

from collections.abc import Iterator

import pytest

from support.edge import Engine, nginx
from support.gateways import running_gateway
from support.stores import Stores, fresh_databases, stores_kind
from support.streaming import running_ws_gateway


@pytest.fixture(scope="module")
def direct(stores: Stores) -> Iterator[Engine]:
    with (
        fresh_databases(stores) as databases,
        running_gateway(databases, stores) as api,
        running_ws_gateway(databases.orders_url, stores.redis_url) as (streams, _),
    ):
        yield Engine(api=api, streams=streams)


@pytest.fixture(scope="module")
def behind_nginx(direct: Engine) -> Iterator[Engine]:
    if stores_kind() != "docker":
        pytest.skip("no Docker engine to run nginx in")
    with nginx(gateway=direct.api, ws_gateway=direct.streams) as address:
        yield Engine(api=address, streams=address)


@pytest.fixture(params=["direct", "behind_nginx"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine
