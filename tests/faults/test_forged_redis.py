"""An attacker with full access to Redis can delay orders and their frames, and do nothing else.

The attack takes place while clients trade. After it, Redis is flushed. Then every order has been
filled once, each client has received the events that PostgreSQL contains, no function that the
attacker named has run, and no process has ended.
"""

import asyncio
import json
import random
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from redis.client import PubSub

from order_engine.client import EngineClient
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.hints import EXECUTE, ORDER_QUEUE, PUBLISH, status_queue
from order_engine.execution.messages.seals import Seal
from order_engine.order_worker.main import WINDOW_KEY
from support.evidence import rows
from support.fleet import Fleet, running_fleet
from support.redis_process import RedisProcess, redis_process
from support.stores import Stores, fresh_databases
from support.trading import Trading
from support.waiting import wait_until

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

# rate limits that only forged starts reach, and orders that can be attacked in progress
SETTINGS = {
    "QUEUE_RATE_LIMIT_PER_MINUTE": "5000",
    "WS_WORKER_RATE_LIMIT": "5000",
    "VENUE_QUOTE_LATENCY_S": "0.05",
    "VENUE_EXECUTION_MIN_S": "0.2",
    "VENUE_EXECUTION_MAX_S": "0.4",
}
ATTACK_S = 8.0
WAVES, WAVE_ORDERS = 16, 3
EVERY_ORDER_S = 90
FORGED = "f0f0f0f0"
CLAIMED_BY_HINT = 'order_engine_orders_claimed_total{way="hint"}'
ZIP_BOMB = zlib.compress(bytes(30_000_000), 9)
DEEP_JSON = "[" * 60_000
QUEUES = (ORDER_QUEUE, *(status_queue(status) for status in OrderStatus))


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def fleet(
    stores: Stores, redis_server: RedisProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    with (
        fresh_databases(stores) as databases,
        running_fleet(databases, redis_server.url, directory, SETTINGS) as fleet,
    ):
        yield fleet


@dataclass(slots=True, kw_only=True)
class Attacker:
    """Reads and writes all of Redis; knows the orders and the frames that were published."""

    client: redis.Redis
    canary: Path
    orders: Sequence[UUID]
    captured: list[tuple[bytes, bytes]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def order(self) -> UUID:
        return self.rng.choice(self.orders) if self.orders else uuid.uuid4()

    def capture(self, subscription: PubSub) -> None:
        # its own garbage may make it a slow reader, which Redis disconnects
        with suppress(redis.RedisError):
            while message := subscription.get_message(ignore_subscribe_messages=True):
                self.captured.append((message["channel"], message["data"]))

    def enqueue(self, queue: str, name: str, *arguments: Any, **fields: Any) -> None:
        """Enqueues a job with a new id, or with the id of an order's own job."""
        call = zlib.compress(json.dumps([name, None, arguments, {}]).encode())
        own = f"o-{self.order()}" if queue == ORDER_QUEUE else f"s-{self.order()}-2"
        job_id = self.rng.choice([uuid.uuid4().hex, own])
        with self.client.pipeline() as pipeline:
            pipeline.delete(f"rq:job:{job_id}")
            hash_fields: dict[Any, Any] = {"status": "queued", "data": call, **fields}
            pipeline.hset(f"rq:job:{job_id}", mapping=hash_fields)
            self.rng.choice([pipeline.lpush, pipeline.rpush])(f"rq:queue:{queue}", job_id)
            pipeline.execute()

    def forged_frame(self, order_id: UUID) -> str:
        """A frame that does not belong to an event of the order."""
        status = self.rng.choice(list(OrderStatus))
        return json.dumps(
            {
                "orderId": str(order_id),
                "seq": self.rng.randint(1, 6),
                "status": status,
                "timestamp": "2026-01-31T12:00:00.000Z",
                "txHash": FORGED,
                "executedPrice": FORGED,
                "errorReason": FORGED,
            }
        )


def forge_frames(attacker: Attacker) -> None:
    order_id = attacker.order()
    text = attacker.forged_frame(order_id)
    for message in (text, "-" * 32 + text, "0" * 32 + text, Seal(b"guessed" * 5).close(text)):
        attacker.client.publish(channel(order_id), message)


def replay_and_misroute_frames(attacker: Attacker) -> None:
    if attacker.captured:
        source, message = attacker.rng.choice(attacker.captured)
        attacker.client.publish(source, message)
        attacker.client.publish(channel(attacker.order()), message)
        attacker.client.publish(source, message.replace(b"routing", b"confirmed"))


def publish_garbage(attacker: Attacker) -> None:
    for message in (
        b"",
        b"\xff" * 40,
        DEEP_JSON.encode(),
        b"0" * 32 + DEEP_JSON.encode(),
        b"x" * 100_000,
    ):
        attacker.client.publish(channel(attacker.order()), message)
    attacker.client.publish("ws-gateway-heartbeat", b"\xff")


def enqueue_hints(attacker: Attacker) -> None:
    """Hints for unknown orders, and repeated hints for existing orders of any status."""
    attacker.enqueue(ORDER_QUEUE, EXECUTE, str(uuid.uuid4()))
    attacker.enqueue(ORDER_QUEUE, EXECUTE, str(attacker.order()))
    attacker.enqueue(ORDER_QUEUE, EXECUTE, str(attacker.order()), timeout="0")
    attacker.enqueue(ORDER_QUEUE, EXECUTE, str(attacker.order()), result_ttl="500")


def enqueue_invalid_jobs(attacker: Attacker) -> None:
    """Jobs with wrong arguments, other functions, callbacks and zip bombs."""
    queue = attacker.rng.choice(QUEUES)
    argument: Any = attacker.rng.choice([None, 7, "", [], {"a": 1}, "\ud800", "x" * 50_000])
    attacker.enqueue(ORDER_QUEUE, EXECUTE, argument)
    attacker.enqueue(ORDER_QUEUE, EXECUTE, argument, argument)
    attacker.enqueue(QUEUES[1], PUBLISH, argument, argument, argument)
    for name in ("os.system", "subprocess.getoutput", "builtins.exec", PUBLISH, EXECUTE):
        attacker.enqueue(queue, name, f"touch {attacker.canary}")
    callbacks = {"success_callback_name": "os.system", "failure_callback_name": "os.system"}
    attacker.enqueue(queue, EXECUTE, str(attacker.order()), **callbacks)
    attacker.enqueue(queue, PUBLISH, "", "", 0, success_callback_name=PUBLISH)
    attacker.enqueue(queue, EXECUTE, "", data=ZIP_BOMB)
    attacker.enqueue(queue, EXECUTE, "", data=ZIP_BOMB, exc_info=ZIP_BOMB, result_ttl="9" * 40)
    attacker.enqueue(queue, EXECUTE, "", meta='{"created_at": 1e400}', webhooks="[" * 5_000)


def enqueue_frames(attacker: Attacker) -> None:
    """Jobs that make a dispatcher publish forged frames."""
    order_id = attacker.order()
    text = attacker.forged_frame(order_id)
    for message in (text, "0" * 32 + text, text * 20):
        attacker.enqueue(QUEUES[-1], PUBLISH, str(order_id), message, time.time())


def corrupt_jobs(attacker: Attacker) -> None:
    for key in attacker.client.scan_iter("rq:job:*", count=100):
        name = attacker.rng.choice(
            ["data", "meta", "status", "timeout", "enqueued_at", "result_ttl"]
        )
        value = attacker.rng.choice(
            [b"", b"\xff", b"started", b"nan", b"x" * 70_000, DEEP_JSON.encode()]
        )
        action = attacker.rng.randrange(4)
        if action == 0:
            attacker.client.delete(key)
        elif action == 1:
            attacker.client.set(key, "text")
        elif attacker.client.type(key) == b"hash":
            attacker.client.hset(key, name, value)


def change_types(attacker: Attacker) -> None:
    for key in attacker.client.scan_iter("*", count=1_000):
        if attacker.rng.random() < 0.3:
            attacker.client.set(key, "text")
    for queue in QUEUES:
        for name in ("queue", "wip", "failed", "finished", "quarantine", "first-seen"):
            if attacker.rng.random() < 0.1:
                attacker.client.set(f"rq:{name}:{queue}", "text")
        if attacker.rng.random() < 0.1:
            attacker.client.set(f"rq:queue:{queue}:intermediate", "text")


def delete_keys(attacker: Attacker) -> None:
    for key in attacker.client.scan_iter("*", count=1_000):
        if attacker.rng.random() < 0.3:
            attacker.client.delete(key)


def fill_the_window(attacker: Attacker) -> None:
    ahead = {f"forged-{n}": time.time() + 10**6 for n in range(6_000)}
    for key in (WINDOW_KEY, *attacker.client.keys("dispatch-starts:*")):
        if attacker.client.type(key) in {b"zset", b"none"}:
            attacker.client.zadd(key, ahead | {"forever": "+inf"})


def reset_the_window(attacker: Attacker) -> None:
    attacker.client.delete(WINDOW_KEY)
    attacker.client.set(f"{WINDOW_KEY}:known", 1)


def enqueue_unknown_ids(attacker: Attacker) -> None:
    for queue in QUEUES:
        if attacker.client.type(f"rq:queue:{queue}") in {b"list", b"none"}:
            ids: list[str | bytes] = [*map(str, range(200)), b"\xff", b"a b", b"x" * 100_000]
            attacker.client.lpush(f"rq:queue:{queue}", *ids)


def suspend(attacker: Attacker) -> None:
    attacker.client.set("rq:suspended", 1)


Action = Callable[[Attacker], None]

ATTACKS: dict[str, Sequence[Action]] = {
    "frames": (forge_frames, replay_and_misroute_frames, publish_garbage),
    "jobs": (enqueue_hints, enqueue_invalid_jobs, enqueue_frames),
    "corruption": (corrupt_jobs, delete_keys, enqueue_unknown_ids),
    "types": (change_types,),
    "window": (fill_the_window, reset_the_window),
    "suspension": (suspend,),
}
ATTACKS["all at once"] = tuple(action for actions in ATTACKS.values() for action in actions)


def attack(attacker: Attacker, actions: Sequence[Action], *, until: float) -> None:
    with attacker.client.pubsub() as subscription:  # type: ignore[no-untyped-call]
        subscription.psubscribe(channel("*"))
        while time.monotonic() < until:
            for action in actions:
                attacker.capture(subscription)
                try:
                    action(attacker)
                except redis.ResponseError:  # another action has changed the type of the key
                    continue


async def trade(
    fleet: Fleet, attacker: Attacker, trading: Trading, actions: Sequence[Action]
) -> None:
    """Clients place and follow orders during the attack; Redis is flushed after it."""
    async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
        attacking = tasks.create_task(
            asyncio.to_thread(attack, attacker, actions, until=time.monotonic() + ATTACK_S)
        )
        for _ in range(WAVES):
            await place_and_follow(engine, trading, tasks)
            await asyncio.sleep(ATTACK_S / WAVES)
        await attacking
        attacker.client.flushall()


async def place_and_follow(
    engine: EngineClient, trading: Trading, tasks: asyncio.TaskGroup
) -> None:
    ids = await trading.place(engine, WAVE_ORDERS)
    tasks.create_task(trading.follow(engine, ids, clients=2, within_s=EVERY_ORDER_S))


def events(fleet: Fleet, order_id: UUID) -> list[tuple[int, str, str | None]]:
    """The events of an order in PostgreSQL."""
    found = rows(
        fleet.databases.orders_url,
        "SELECT seq, status, payload->>'txHash' AS tx_hash FROM order_events"
        " WHERE order_id = %s ORDER BY seq",
        [str(order_id)],
    )
    return [(row["seq"], row["status"], row["tx_hash"]) for row in found]


def claims_by_hint(fleet: Fleet) -> bool:
    before = fleet["order-worker"].metric(CLAIMED_BY_HINT)
    trading = Trading()

    async def trade_once() -> None:
        async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
            await place_and_follow(engine, trading, tasks)

    asyncio.run(trade_once())
    return bool(fleet["order-worker"].metric(CLAIMED_BY_HINT) > before)


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attacker_in_redis_can_only_delay_orders_and_frames(
    fleet: Fleet, redis_server: RedisProcess, tmp_path: Path, kind: str
) -> None:
    trading = Trading()
    canary = tmp_path / "canary"
    started = {name: deployable.process for name, deployable in fleet.deployables.items()}
    with redis_server.client() as client:
        attacker = Attacker(client=client, canary=canary, orders=trading.acknowledged)
        asyncio.run(trade(fleet, attacker, trading, ATTACKS[kind]))

    assert len(trading.logs) == 2 * WAVES * WAVE_ORDERS
    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []
    for (_, order_id), frames in trading.logs.items():
        seen = [(frame.seq, frame.status, frame.tx_hash) for frame in frames]
        assert seen == events(fleet, order_id)
        assert frames[-1].status is OrderStatus.CONFIRMED
    assert not canary.exists()
    assert all(process and process.poll() is None for process in started.values())
    wait_until(lambda: claims_by_hint(fleet), timeout_s=60, what="an order claimed by its hint")


def test_orders_are_executed_without_redis_when_the_queue_has_a_wrong_type(
    fleet: Fleet, redis_server: RedisProcess
) -> None:
    worker, trading = fleet["order-worker"], Trading()

    async def trade_without_redis() -> None:
        async with fleet.client() as engine, asyncio.TaskGroup() as tasks:
            await place_and_follow(engine, trading, tasks)

    with redis_server.client() as client:
        client.flushall()
        client.set(f"rq:queue:{ORDER_QUEUE}", "text")
        wait_until(lambda: not worker.is_ready(), timeout_s=10, what="a worker that is not ready")
        asyncio.run(trade_without_redis())
        assert trading.logs
        assert all(frames[-1].status is OrderStatus.CONFIRMED for frames in trading.logs.values())
        assert not worker.is_ready()
        client.flushall()
    wait_until(worker.is_ready, timeout_s=10, what="a worker that is ready")
    wait_until(lambda: claims_by_hint(fleet), timeout_s=60, what="an order claimed by its hint")


LIMIT = 20


def test_a_worker_keeps_its_limit_when_its_window_and_hints_are_deleted(
    stores: Stores, redis_server: RedisProcess, tmp_path: Path
) -> None:
    """The shared limit of all workers is kept in Redis, and each worker also keeps its own."""
    settings = SETTINGS | {"QUEUE_RATE_LIMIT_PER_MINUTE": str(LIMIT)}
    trading = Trading()

    async def place_under_attack(fleet: Fleet, attacker: Attacker) -> None:
        actions = (reset_the_window, delete_keys, change_types)
        async with fleet.client() as engine:
            await trading.place(engine, 3 * LIMIT)
            await asyncio.to_thread(attack, attacker, actions, until=time.monotonic() + 4)
            await asyncio.to_thread(
                attack, attacker, (reset_the_window,), until=time.monotonic() + 8
            )

    with fresh_databases(stores) as databases:
        with (
            running_fleet(databases, redis_server.url, tmp_path, settings) as fleet,
            redis_server.client() as client,
        ):
            attacker = Attacker(
                client=client, canary=tmp_path / "canary", orders=trading.acknowledged
            )
            asyncio.run(place_under_attack(fleet, attacker))
        [row] = rows(databases.orders_url, "SELECT count(started_at) AS started FROM orders")

    assert row["started"] == LIMIT
