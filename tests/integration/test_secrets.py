"""No secret is ever shown: not in a log, not by a port, not in the arguments of a process."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from order_engine.execution.deployables import DEPLOYABLES
from order_engine.execution.messages.hints import EXECUTE, ORDER_QUEUE
from support.fleet import INSTANT, Deployable, Fleet, running_fleet
from support.ports import free_port
from support.redis_process import redis_process
from support.stores import Databases, Stores, execute, fresh_databases, stores_kind
from support.trading import Trading
from support.waiting import wait_until

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(
        stores_kind() != "docker", reason="the embedded PostgreSQL asks for no password"
    ),
]

SECRET = "hush"  # noqa: S105 - a part of every password here, and of nothing else
LOG_TIMEOUT_S = 30
END_TIMEOUT_S = 60
SETTINGS = INSTANT | {"LOG_LEVEL": "DEBUG"}
AN_ORDER: dict[str, object] = {
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amountIn": "1",
    "slippageTolerance": 0.5,
}
NO_HEADERS: Mapping[str, str] = {}
EVERY_KIND = [deployable.workloads[0] for deployable in DEPLOYABLES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Stores that ask for a password, as the engine sees them and as their owner does."""

    databases: Databases
    redis_url: str
    owned: Databases
    redis: redis.Redis
    roles: tuple[str, str]


@pytest.fixture
def guarded(stores: Stores, tmp_path: Path) -> Iterator[Guarded]:
    with (
        role(stores.postgres_url) as engine,
        role(stores.postgres_url) as chain,
        fresh_databases(stores) as owned,
        redis_process(tmp_path) as process,
        process.client() as client,
    ):
        client.config_set("requirepass", f"{SECRET}-redis")
        yield Guarded(
            databases=Databases(
                orders_url=signed(owned.orders_url, user=engine),
                chain_url=signed(owned.chain_url, user=chain),
            ),
            redis_url=f"redis://:{SECRET}-redis@127.0.0.1:{process.port}/0",
            owned=owned,
            redis=client,
            roles=(engine, chain),
        )


def test_a_fleet_shows_no_secret_during_faults(guarded: Guarded, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    with running_fleet(guarded.databases, guarded.redis_url, logs, SETTINGS) as fleet:
        asyncio.run(one_order(fleet))
        shown = shown_by(fleet)

        jobs = Queue(ORDER_QUEUE, connection=guarded.redis, serializer=JSONSerializer)
        jobs.enqueue(EXECUTE, "not an order")
        wait_for_line(fleet["order-worker"], "job failed")

        refuse_redis_password(guarded)
        for name in ("order-worker", "status-dispatcher-pending", "ws-gateway"):
            wait_for_line(fleet[name], "invalid username-password pair")

        execute(guarded.owned.orders_url, "ALTER TABLE orders RENAME TO elsewhere")
        wait_for_line(fleet["order-worker"], "does not exist")

        refuse_postgres_passwords(guarded)
        wait_for_line(fleet["order-worker"], "password authentication failed")
        shown += answer_to_an_order(fleet)
        wait_for_line(fleet["gateway"], "password authentication failed")
        shown += shown_by(fleet)

    shown += "".join(log.read_text() for log in logs.iterdir())
    assert "order-worker" in shown
    assert SECRET not in shown


def test_doors_show_neither_keys_nor_stream_tokens(guarded: Guarded, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    key = made_key(guarded, tmp_path)
    wrong = key[:-8] + "01234567"
    with running_fleet(
        guarded.databases,
        guarded.redis_url,
        logs,
        SETTINGS | {"AUTH": "keys"},
        ["gateway", "ws-gateway"],
    ) as fleet:
        placed = json.loads(answer_to_an_order(fleet, key))
        token = json.loads(answer_of_gateway(fleet, "stream-tokens", key, {}))["token"]
        stream = (
            f"ws://127.0.0.1:{fleet['ws-gateway'].ports['PORT']}/api/orders/{placed['orderId']}"
            f"/stream?token={token}"
        )
        with connect(stream) as socket:
            socket.recv(timeout=LOG_TIMEOUT_S)
        shown = answer_to_an_order(fleet, wrong)
        for table in ("stream_tokens", "api_keys"):
            execute(guarded.owned.orders_url, f"ALTER TABLE {table} RENAME TO no_{table}")
            shown += answer_of_gateway(fleet, "stream-tokens", key, {})
            with connect(stream) as socket, suppress(ConnectionClosed):
                shown += str(socket.recv(timeout=LOG_TIMEOUT_S))
        shown += shown_by(fleet)

    shown += "".join(log.read_text() for log in logs.iterdir())
    assert "does not exist" in shown
    for secret in (key, wrong, token):
        assert secret.rpartition("_")[2] not in shown


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    "credentials",
    [f"user:{SECRET}%zz", f"user:{SECRET}@{SECRET}", f"user:{SECRET}/{SECRET}", f"user:1/{SECRET}"],
)
def test_a_password_that_is_not_percent_encoded_is_not_shown(
    kind: str, credentials: str, tmp_path: Path
) -> None:
    ended = run_to_its_end(
        kind,
        {
            "DATABASE_URL": f"postgresql://{credentials}@127.0.0.1:{free_port()}/orders",
            "REDIS_URL": f"redis://{credentials}@127.0.0.1:{free_port()}/0",
        },
        tmp_path,
    )

    assert ended.startswith("cannot start: ")
    assert SECRET not in ended


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_unknown_option_is_reported_without_the_password(kind: str, tmp_path: Path) -> None:
    ended = run_to_its_end(
        kind,
        {
            "DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/orders?colour=red",
            "REDIS_URL": f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0?colour=red",
        },
        tmp_path,
    )

    assert "option" in ended
    assert SECRET not in ended


def test_processes_that_reach_nothing_show_no_secret(tmp_path: Path) -> None:
    environment = {
        "DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/orders",
        "CHAIN_DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/chain",
        "REDIS_URL": f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0",
        "LOG_LEVEL": "DEBUG",
    }
    awaited = {"ws-gateway": "Connection refused", "order-worker": "Connection refused"}
    started = [
        Deployable(name=name, environment=environment, log=tmp_path / f"{name}.log")
        for name in awaited
    ]
    try:
        for deployable in started:
            deployable.start()
        for deployable in started:
            wait_for_line(deployable, awaited[deployable.name])
    finally:
        for deployable in started:
            deployable.kill()
    shown = "".join(log.read_text() for log in tmp_path.iterdir())
    shown += run_to_its_end("migrate", environment, tmp_path)

    assert "cannot migrate orders: " in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("ALTER TABLE public.schema_version RENAME version_num TO n", "does not exist"),
        ("DROP TABLE public.schema_version", "already exists"),
    ],
)
def test_a_migration_that_fails_shows_no_secret(
    sql: str, said: str, guarded: Guarded, tmp_path: Path
) -> None:
    execute(guarded.owned.orders_url, sql)
    ended = run_to_its_end("migrate", environment_of(guarded), tmp_path)

    assert said in ended
    assert SECRET not in ended


async def one_order(fleet: Fleet) -> None:
    trading = Trading()
    async with fleet.client() as engine:
        await trading.follow(engine, await trading.place(engine, 1), clients=1, within_s=30)


def shown_by(fleet: Fleet) -> str:
    """What anyone can ask of the processes, and what `ps` says of them."""
    shown = ""
    for deployable in fleet.deployables.values():
        assert deployable.process is not None
        shown += Path(f"/proc/{deployable.process.pid}/cmdline").read_text()
        for page in ("metrics", "livez", "readyz"):
            shown += answer_to(f"http://127.0.0.1:{deployable.ports['ADMIN_PORT']}/{page}")
    return shown + answer_to(f"http://127.0.0.1:{fleet['gateway'].ports['PORT']}/health")


def answer_to_an_order(fleet: Fleet, key: str = "") -> str:
    return answer_of_gateway(fleet, "orders/execute", key, AN_ORDER)


def answer_of_gateway(fleet: Fleet, path: str, key: str, form: dict[str, object]) -> str:
    url = f"http://127.0.0.1:{fleet['gateway'].ports['PORT']}/api/{path}"
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    return answer_to(url, json.dumps(form).encode(), headers)


def answer_to(url: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS) -> str:
    """The body, whatever the status."""
    request = urllib.request.Request(url, body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def made_key(guarded: Guarded, directory: Path) -> str:
    made = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "order-engine"), "keys", "create", "alice"),
            *("--scope", "trade", "--scope", "read"),
        ],
        env={"PATH": os.environ["PATH"], **environment_of(guarded)},  # noqa: TID251
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=END_TIMEOUT_S,
        check=True,
    )
    return made.stdout.strip()


def wait_for_line(deployable: Deployable, words: str) -> None:
    wait_until(
        lambda: words in deployable.log.read_text(),
        timeout_s=LOG_TIMEOUT_S,
        what=f"{words!r} in the log of {deployable.name}",
    )


def run_to_its_end(kind: str, environment: dict[str, str], directory: Path) -> str:
    """All that the process writes until it has ended by itself, which it does as one that failed."""
    program, _, status = kind.partition("-dispatcher-")
    command = [str(Path(sys.executable).parent / kind)]
    if status:
        command = [str(Path(sys.executable).parent / f"{program}-dispatcher"), "--status", status]
    ended = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "ADMIN_PORT": "0", "PORT": "0", **environment},  # noqa: TID251
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=END_TIMEOUT_S,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stdout + ended.stderr


def environment_of(guarded: Guarded) -> dict[str, str]:
    return {
        "DATABASE_URL": guarded.databases.orders_url,
        "CHAIN_DATABASE_URL": guarded.databases.chain_url,
        "REDIS_URL": guarded.redis_url,
        "LOG_LEVEL": "DEBUG",
    }


def refuse_redis_password(guarded: Guarded) -> None:
    guarded.redis.config_set("requirepass", "another")
    for kind in ("normal", "pubsub"):
        guarded.redis.client_kill_filter(_type=kind, skipme=True)


def refuse_postgres_passwords(guarded: Guarded) -> None:
    for user in guarded.roles:
        execute(guarded.owned.orders_url, f"ALTER ROLE {user} PASSWORD 'another'")
        execute(
            guarded.owned.orders_url,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",  # noqa: S608
        )


@contextmanager
def role(owner_url: str) -> Iterator[str]:
    """A user of the server with a password that `signed` knows."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    execute(owner_url, f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{SECRET}-{name}'")
    yield name
    execute(owner_url, f"DROP ROLE {name}")


def signed(url: str, *, user: str) -> str:
    """The same database, entered as `user`."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{SECRET}-{user}@{host}"))
