"""Everything that the fleet says to PostgreSQL and Redis goes over TLS, or is not said."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import psycopg2
import pytest
import redis

from order_engine.execution.stores.connections import connect
from order_engine.execution.stores.redis_clients import async_redis_client, redis_client
from support.certificates import Authority, Certificate
from support.evidence import rows
from support.fleet import INSTANT, Deployable, running_fleet
from support.recording_proxy import Address, RecordingProxy, recording_proxy
from support.stores import Databases, Stores, execute, stores_kind
from support.tls_containers import tls_postgres, tls_redis
from support.trading import Trading
from support.waiting import wait_until

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(
        stores_kind() != "docker", reason="the servers that speak TLS come from containers"
    ),
]

NAME = "localhost"
USER = "postgres"
PASSWORD = "p@ss/w:rd%41?#"  # noqa: S105 - every character that a URL must have encoded
HANDSHAKE = b"\x16\x03"  # a TLS record, the client's hello
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL's own question whether to speak TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A PostgreSQL and a Redis, each behind a proxy that writes down what it is sent."""

    postgres: RecordingProxy
    redis: RecordingProxy

    def assert_nothing_in_clear(self) -> None:
        for record in map(bytes, self.postgres.sent):
            assert record.removeprefix(SSL_REQUEST).startswith(HANDSHAKE) or record in {
                SSL_REQUEST,
                b"",
            }
        for record in map(bytes, self.redis.sent):
            assert record.startswith(HANDSHAKE) or record == b""
        for record in map(bytes, [*self.postgres.sent, *self.redis.sent]):
            for word in (PASSWORD, quote(PASSWORD, safe=""), "HELLO", "orders", "SCRAM"):
                assert word.encode() not in record


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a client brings along: whom it believes, and who it is."""

    authority: Authority
    own: Certificate | None
    host: str = NAME

    def postgres_url(self, place: Place, *, name: str = "postgres") -> str:
        options = {"sslmode": "verify-full", "sslrootcert": self.authority.file}
        if self.own:
            options |= {"sslcert": self.own.chain, "sslkey": self.own.key}
        return f"postgresql://{self._at(place.postgres)}/{name}?{urlencode(options)}"

    def redis_url(self, place: Place) -> str:
        options = {"ssl_ca_certs": self.authority.file}
        if self.own:
            options |= {"ssl_certfile": self.own.chain, "ssl_keyfile": self.own.key}
        return f"rediss://{self._at(place.redis)}/0?{urlencode(options)}"

    def _at(self, proxy: RecordingProxy) -> str:
        return f"{USER}:{quote(PASSWORD, safe='')}@{self.host}:{proxy.port}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trust(authority: Authority) -> Trust:
    return Trust(authority=authority, own=authority.certificate(USER))


@pytest.fixture(scope="module")
def servers(authority: Authority) -> Iterator[tuple[Address, Address]]:
    with running_servers(authority, authority.certificate(NAME)) as running:
        yield running


@pytest.fixture(scope="module")
def expired_servers(authority: Authority) -> Iterator[tuple[Address, Address]]:
    with running_servers(authority, authority.certificate(NAME, expired=True)) as running:
        yield running


@pytest.fixture
def place(servers: tuple[Address, Address]) -> Iterator[Place]:
    with behind_proxies(servers) as place:
        yield place


@pytest.fixture
def expired_place(expired_servers: tuple[Address, Address]) -> Iterator[Place]:
    with behind_proxies(expired_servers) as place:
        yield place


def test_an_order_goes_through_the_whole_fleet(place: Place, trust: Trust, tmp_path: Path) -> None:
    trading = Trading()
    databases = Databases(
        orders_url=trust.postgres_url(place, name="orders_tls"),
        chain_url=trust.postgres_url(place, name="chain_tls"),
    )
    for name in ("orders_tls", "chain_tls"):
        execute(trust.postgres_url(place), f"CREATE DATABASE {name}")
    migrated = migrate(databases.orders_url, databases.chain_url, tmp_path)
    assert migrated.returncode == 0, migrated.stderr
    with running_fleet(databases, trust.redis_url(place), tmp_path, INSTANT) as fleet:

        async def trade() -> None:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 1)
                await trading.follow(engine, ids, clients=1, within_s=30)

        asyncio.run(trade())
        protected = rows(
            databases.orders_url,
            "SELECT a.application_name, s.ssl FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)"
            " WHERE a.datname IN ('orders_tls', 'chain_tls')",
        )
        violations = trading.violations(databases)

    assert violations == []
    assert {row["ssl"] for row in protected} == {True}
    assert {"gateway", "order-worker", "ws-gateway", "simulated-chain"} <= {
        row["application_name"] for row in protected
    }
    place.assert_nothing_in_clear()


def by_postgres(place: Place, trust: Trust) -> None:
    connect(trust.postgres_url(place), application_name="test").close()


def by_queue(place: Place, trust: Trust) -> None:
    with closing(redis_client(trust.redis_url(place))) as client:
        client.ping()


def by_pubsub(place: Place, trust: Trust) -> None:
    async def ping() -> None:
        async with async_redis_client(trust.redis_url(place)) as client:
            await client.ping()

    asyncio.run(ping())


WAYS = [by_postgres, by_queue, by_pubsub]
Way = Callable[[Place, Trust], None]


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_trusts_the_server_is_let_in(way: Way, place: Place, trust: Trust) -> None:
    way(place, trust)

    place.assert_nothing_in_clear()


def test_the_systems_authorities_are_those_of_the_file_that_is_named(
    place: Place, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as the image does: the OpenSSL that comes with libpq knows no system
    url = trust.postgres_url(place).replace(quote(str(trust.authority.file), safe=""), "system")
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        connect(url, application_name="test")
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.authority.file))

    connect(url, application_name="test").close()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_of_another_authority_is_refused(
    way: Way, place: Place, trust: Trust, tmp_path: Path
) -> None:
    misled = Trust(authority=Authority(tmp_path), own=trust.own)

    assert "certificate verify failed" in refusal(way, place, misled)
    place.assert_nothing_in_clear()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_of_another_name_is_refused(way: Way, place: Place, trust: Trust) -> None:
    astray = Trust(authority=trust.authority, own=trust.own, host="127.0.0.1")

    assert "127.0.0.1" in refusal(way, place, astray)
    place.assert_nothing_in_clear()


@pytest.mark.parametrize("way", WAYS)
def test_an_expired_server_is_refused(way: Way, expired_place: Place, trust: Trust) -> None:
    assert "certificate verify failed" in refusal(way, expired_place, trust)
    expired_place.assert_nothing_in_clear()


@pytest.mark.parametrize("way", WAYS)
def test_a_client_without_a_certificate_is_refused(way: Way, place: Place, trust: Trust) -> None:
    nobody = Trust(authority=trust.authority, own=None)

    assert "certificate" in refusal(way, place, nobody)
    place.assert_nothing_in_clear()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_sent_to_a_server_without_tls(way: Way, trust: Trust, stores: Stores) -> None:
    with behind_proxies((address(stores.postgres_url), address(stores.redis_url))) as place:
        refusal(way, place, trust)

        place.assert_nothing_in_clear()


def test_migrate_reports_an_untrusted_server_in_one_line(
    expired_place: Place, trust: Trust, tmp_path: Path
) -> None:
    url = trust.postgres_url(expired_place)
    refused = migrate(url, url, tmp_path)

    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("cannot migrate orders: ")
    assert "certificate verify failed" in line


def test_a_deployable_reports_an_untrusted_server_in_one_line(
    expired_place: Place, trust: Trust, tmp_path: Path
) -> None:
    dispatcher = Deployable(
        name="status-dispatcher-pending",
        environment={"REDIS_URL": trust.redis_url(expired_place)},
        log=tmp_path / "dispatcher.log",
    )
    dispatcher.start()
    try:
        events = wait_until(
            lambda: [e for e in events_in(dispatcher.log) if e["event"] == "redis call failed"],
            timeout_s=30,
            what="the refusal in the log",
        )
        wait_until(lambda: not dispatcher.is_ready(), timeout_s=30, what="not ready")
    finally:
        dispatcher.kill()

    assert "certificate has expired" in events[0]["error"]
    assert "\n" not in events[0]["error"]
    expired_place.assert_nothing_in_clear()


def refusal(way: Way, place: Place, trust: Trust) -> str:
    """What the way's error says, which has to be one line."""
    with pytest.raises((psycopg2.OperationalError, redis.RedisError)) as refused:
        way(place, trust)
    [line] = str(refused.value).strip().splitlines()
    assert PASSWORD not in line
    return line


def migrate(orders_url: str, chain_url: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "migrate")],
        env={"DATABASE_URL": orders_url, "CHAIN_DATABASE_URL": chain_url},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def events_in(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if "\n" in line]


@contextmanager
def running_servers(authority: Authority, shown: Certificate) -> Iterator[tuple[Address, Address]]:
    with (
        tls_postgres(authority, shown, password=PASSWORD) as postgres,
        tls_redis(authority, shown, user=USER, password=PASSWORD) as redis_server,
    ):
        yield postgres, redis_server


@contextmanager
def behind_proxies(servers: tuple[Address, Address]) -> Iterator[Place]:
    with ExitStack() as stack:
        postgres, redis_server = (
            stack.enter_context(recording_proxy(server)) for server in servers
        )
        yield Place(postgres=postgres, redis=redis_server)


def address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0
