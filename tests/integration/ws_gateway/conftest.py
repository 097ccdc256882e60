from collections.abc import Iterator

import pytest
import redis

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import redis_client
from support.stores import Databases, Stores, fresh_databases
from support.streaming import NEVER_S, OFTEN_S, Announcer, read_seal, subscribed_ws_gateway


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    """One database for all tests of a module; each test places its own orders."""
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def commits(databases: Databases) -> Iterator[GroupCommit]:
    commits = GroupCommit(databases.orders_url, application_name="test")
    yield commits
    commits.close()


@pytest.fixture(scope="module")
def reader(databases: Databases) -> Iterator[Reader]:
    reader = Reader(databases.orders_url, application_name="test", connections_max=2)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def orders(commits: GroupCommit, reader: Reader) -> Orders:
    return Orders(commits, reader, claimer=Claimer(name="worker", lease_s=10))


@pytest.fixture(scope="module")
def keys(commits: GroupCommit, reader: Reader) -> ApiKeys:
    return ApiKeys(commits, reader)


@pytest.fixture
def tokens(commits: GroupCommit) -> StreamTokens:
    return StreamTokens(commits)


@pytest.fixture(scope="module")
def broker(stores: Stores) -> Iterator[redis.Redis]:
    with redis_client(stores.redis_url) as client:
        yield client


@pytest.fixture(scope="module")
def announcer(broker: redis.Redis, databases: Databases) -> Announcer:
    return Announcer(Publisher(broker), read_seal(databases.orders_url))


@pytest.fixture(scope="module")
def pubsub_gateway(databases: Databases, stores: Stores) -> Iterator[str]:
    """A ws-gateway whose position check never runs, so that events arrive through pub/sub."""
    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=NEVER_S
    ) as address:
        yield address


@pytest.fixture(scope="module")
def checking_gateway(databases: Databases, stores: Stores) -> Iterator[str]:
    """A ws-gateway whose position check runs every `OFTEN_S` seconds."""
    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=OFTEN_S
    ) as address:
        yield address


@pytest.fixture(scope="module")
def gateway_with_keys(databases: Databases, stores: Stores) -> Iterator[str]:
    """A ws-gateway that requires API keys; its position check runs every `OFTEN_S` seconds."""
    with subscribed_ws_gateway(
        databases.orders_url, stores.redis_url, ws_position_check_s=OFTEN_S, auth="keys"
    ) as address:
        yield address
