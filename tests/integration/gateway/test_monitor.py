"""The background checks of the gateway, on real PostgreSQL and Redis."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest
import redis
from prometheus_client import REGISTRY

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.hints import order_hint
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.gateway import monitor as watch
from order_engine.gateway.monitor import Monitor
from rq_slots.enqueue import enqueue
from support.builders import a_new_order
from support.stores import Databases, execute

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def orders(databases: Databases) -> Iterator[Orders]:
    commits = GroupCommit(databases.orders_url, application_name="test")
    orders = Orders(
        commits,
        Reader(databases.orders_url, application_name="test", connections_max=2),
        claimer=Claimer(name="test", lease_s=10),
    )
    yield orders
    orders.close()


def a_monitor(orders: Orders, redis_url: str, *, orders_waiting_max: int = 0) -> Monitor:
    return Monitor(
        orders, redis_client(redis_url), orders_waiting_max=orders_waiting_max, now=lambda: NOW
    )


async def place(orders: Orders, count: int) -> None:
    for _ in range(count):
        await orders.place(a_new_order(id=OrderId(uuid.uuid4())))


def violations(invariant: str) -> float:
    name, labels = "order_engine_invariant_violations_total", {"invariant": invariant}
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_backlog_is_full_above_its_bound_and_not_at_it(orders: Orders, redis_url: str) -> None:
    async def work() -> None:
        monitor = a_monitor(orders, redis_url, orders_waiting_max=3)
        await place(orders, 3)
        await monitor.check_backlog()
        assert not monitor.backlog_is_full
        await place(orders, 1)
        await monitor.check_backlog()
        assert monitor.backlog_is_full
        await orders.claim_waiting(before=None, lag_s=0, most=1)
        await monitor.check_backlog()
        assert not monitor.backlog_is_full

    asyncio.run(work())


def test_without_a_bound_the_backlog_is_never_full(orders: Orders, redis_url: str) -> None:
    async def work() -> None:
        monitor = a_monitor(orders, redis_url, orders_waiting_max=0)
        await place(orders, 5)
        await monitor.check_backlog()

        assert not monitor.backlog_is_full

    asyncio.run(work())


def test_the_depth_and_the_age_of_a_queue_are_measured(orders: Orders, redis_url: str) -> None:
    created_at = datetime(2029, 12, 31, 23, 59, tzinfo=UTC)
    with redis_client(redis_url) as client:
        hints = [order_hint(OrderId(uuid.uuid4()), created_at=created_at) for _ in range(3)]
        enqueue(client, hints, now=NOW)

    asyncio.run(a_monitor(orders, redis_url).check_queues())

    assert REGISTRY.get_sample_value("order_engine_queue_depth_jobs", {"queue": "orders"}) == 3
    assert (
        REGISTRY.get_sample_value("order_engine_queue_oldest_job_seconds", {"queue": "orders"})
        == 60
    )


@pytest.mark.parametrize("time", ["NaN", "Infinity", "1e300", '"noon"', "[" * 5_000])
def test_a_job_with_an_invalid_creation_time_has_age_zero(
    orders: Orders, redis_url: str, time: str
) -> None:
    with redis_client(redis_url) as client:
        client.hset("rq:job:head", "meta", f'{{"created_at": {time}}}')
        client.rpush("rq:queue:orders", "head")

    asyncio.run(a_monitor(orders, redis_url).check_queues())

    assert REGISTRY.get_sample_value("order_engine_queue_depth_jobs", {"queue": "orders"}) == 1
    assert (
        REGISTRY.get_sample_value("order_engine_queue_oldest_job_seconds", {"queue": "orders"}) == 0
    )


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda client: client.set("rq:queue:orders", "text"),
        lambda client: (client.rpush("rq:queue:orders", "x"), client.set("rq:job:x", "text")),
        lambda client: client.rpush("rq:queue:orders", b"\xff" * 1_000_000),
        lambda client: (
            client.rpush("rq:queue:orders", "x"),
            client.hset("rq:job:x", "meta", "x" * 5_000_000),
        ),
    ],
    ids=["no list", "no hash", "huge id", "huge meta"],
)
def test_a_corrupt_queue_does_not_hide_the_others(
    orders: Orders, redis_url: str, corrupt: Callable[[redis.Redis], object]
) -> None:
    with redis_client(redis_url) as client:
        corrupt(client)
        client.rpush("rq:queue:order-status-failed", *range(7))

    asyncio.run(a_monitor(orders, redis_url).check_queues())

    failed = {"queue": "order-status-failed"}
    assert REGISTRY.get_sample_value("order_engine_queue_depth_jobs", failed) == 7


def test_an_audit_of_a_healthy_engine_finds_nothing(
    orders: Orders, redis_url: str, databases: Databases
) -> None:
    async def work() -> None:
        await place(orders, 5)
        execute(databases.orders_url, "UPDATE orders SET updated_at = now() - interval '1 minute'")
        await a_monitor(orders, redis_url).audit()

    before = total_violations()
    asyncio.run(work())

    assert total_violations() == before


def total_violations() -> float:
    samples = [s for m in REGISTRY.collect() for s in m.samples]
    return sum(s.value for s in samples if s.name == "order_engine_invariant_violations_total")


@pytest.mark.parametrize(
    ("fault", "invariant"),
    [
        ("UPDATE orders SET seq = 2", "seq_is_not_the_last_event"),
        ("UPDATE orders SET status = 'routing'", "status_is_not_the_last_event"),
        ("DELETE FROM order_events", "events_have_a_gap"),
        (
            "UPDATE orders SET status = 'confirmed', tx_hash = 'x'",
            "confirmed_without_one_landed_intent",
        ),
        (
            """
            UPDATE orders SET status = 'failed', error_code = 'x';
            INSERT INTO execution_intents
            SELECT id, 1, 1, 'raydium', 'sig', '', '{}', now(), 'live' FROM orders
            """,
            "failed_with_an_intent_that_counts",
        ),
        (
            """
            INSERT INTO order_events (order_id, seq, status, cause)
            SELECT id, 2, 'failed', 'a' FROM orders UNION ALL SELECT id, 3, 'failed', 'b' FROM orders
            """,
            "more_than_one_final_event",
        ),
    ],
)
def test_a_broken_invariant_is_counted_once(
    orders: Orders, redis_url: str, databases: Databases, fault: str, invariant: str
) -> None:
    async def work() -> None:
        monitor = a_monitor(orders, redis_url)
        await place(orders, 1)
        execute(databases.orders_url, fault)
        execute(databases.orders_url, "UPDATE orders SET updated_at = now() - interval '1 minute'")
        await monitor.audit()
        await monitor.audit()

    before = violations(invariant)
    asyncio.run(work())

    assert violations(invariant) == before + 1


def test_every_order_of_one_time_is_audited_in_small_batches(
    orders: Orders, redis_url: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AUDIT_BATCH_MAX", 3)
    monkeypatch.setattr(watch, "AUDIT_BATCHES_MAX", 2)

    async def work() -> None:
        monitor = a_monitor(orders, redis_url)
        await place(orders, 10)
        execute(
            databases.orders_url, "UPDATE orders SET seq = 5, updated_at = now() - interval '9 s'"
        )
        for _ in range(2):
            await monitor.audit()

    before = violations("seq_is_not_the_last_event")
    asyncio.run(work())

    assert violations("seq_is_not_the_last_event") == before + 10


def test_a_change_that_is_committed_late_is_audited(
    orders: Orders, redis_url: str, databases: Databases
) -> None:
    async def work() -> None:
        monitor = a_monitor(orders, redis_url)
        await place(orders, 2)
        execute(databases.orders_url, "UPDATE orders SET updated_at = now() - interval '1 minute'")
        with closing(psycopg2.connect(databases.orders_url)) as late, late.cursor() as cursor:
            cursor.execute(
                """
                UPDATE orders SET seq = 5, updated_at = now() - interval '20 s'
                WHERE id = (SELECT min(id::text)::uuid FROM orders)
                """
            )
            execute(
                databases.orders_url,
                """
                UPDATE orders SET updated_at = now() - interval '15 s'
                WHERE id = (SELECT max(id::text)::uuid FROM orders)
                """,
            )
            await monitor.audit()
            late.commit()
        for _ in range(3):
            await monitor.audit()

    before = violations("seq_is_not_the_last_event")
    asyncio.run(work())

    assert violations("seq_is_not_the_last_event") == before + 1


def test_audits_without_new_changes_do_not_go_further_back(
    orders: Orders, redis_url: str, databases: Databases
) -> None:
    async def work() -> None:
        monitor = a_monitor(orders, redis_url)
        await place(orders, 1)
        execute(databases.orders_url, "UPDATE orders SET updated_at = now() - interval '15 s'")
        await monitor.audit()
        await place(orders, 1)
        execute(
            databases.orders_url,
            "UPDATE orders SET seq = 5, updated_at = now() - interval '90 s' WHERE seq = 1",
        )
        for _ in range(5):
            await monitor.audit()

    before = violations("seq_is_not_the_last_event")
    asyncio.run(work())

    assert violations("seq_is_not_the_last_event") == before
