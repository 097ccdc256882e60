"""The renewal of leases, in real PostgreSQL."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.order_worker.leases import Leases
from support.builders import a_move, a_new_order
from support.evidence import rows
from support.order_stages import PostgresStage
from support.stores import Databases, execute
from support.waiting import wait_until
from support.worker import CONFIRMED, HAPPY_PATH

NAME = "test-leases"
LEASED = """
SELECT coalesce(lease_until > now() + interval '5 s', false) AS leased FROM orders WHERE id = %s
"""
ALMOST_EXPIRED = (
    "UPDATE orders SET lease_until = now() + interval '1 s' WHERE lease_until IS NOT NULL"
)
DISCONNECTED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test-leases'
"""


@pytest.fixture
def stage(databases: Databases) -> Iterator[PostgresStage]:
    stage = PostgresStage(databases)
    with closing(stage.orders):
        yield stage


@pytest.fixture
def leases(databases: Databases) -> Iterator[Leases]:
    with closing(
        Leases(databases.orders_url, application_name=NAME, lease_s=10, renew_every_s=0.02)
    ) as leases:
        yield leases


def a_claimed_order(stage: PostgresStage) -> ClaimedOrder:
    async def work() -> ClaimedOrder:
        order = a_new_order(id=OrderId(uuid.uuid4()))
        await stage.place(order)
        claimed = await stage.orders.claim(order.id)
        assert claimed is not None
        return claimed

    return asyncio.run(work())


def is_leased(databases: Databases, claimed: ClaimedOrder) -> bool:
    """For more than 5 s from now."""
    [row] = rows(databases.orders_url, LEASED, [str(claimed.order.id)])
    return bool(row["leased"])


def wait_until_leased(databases: Databases, claimed: ClaimedOrder) -> None:
    wait_until(lambda: is_leased(databases, claimed), timeout_s=5, what="the renewal")


def test_a_lease_is_renewed_again_and_again_while_it_is_held(
    databases: Databases, stage: PostgresStage, leases: Leases
) -> None:
    claimed = a_claimed_order(stage)

    with leases.held(claimed):
        for _ in range(3):
            execute(databases.orders_url, ALMOST_EXPIRED)
            wait_until_leased(databases, claimed)


def test_only_held_leases_are_renewed(
    databases: Databases, stage: PostgresStage, leases: Leases
) -> None:
    held, not_held, no_longer_held = (a_claimed_order(stage) for _ in range(3))
    with leases.held(no_longer_held):
        pass
    execute(databases.orders_url, ALMOST_EXPIRED)

    with leases.held(held):
        wait_until_leased(databases, held)

    assert not is_leased(databases, not_held)
    assert not is_leased(databases, no_longer_held)


def test_a_lease_that_a_later_claim_has_fenced_is_not_renewed(
    databases: Databases, stage: PostgresStage, leases: Leases
) -> None:
    old, current = a_claimed_order(stage), a_claimed_order(stage)
    stage.pass_time()
    asyncio.run(stage.orders.claim(old.order.id))
    execute(databases.orders_url, ALMOST_EXPIRED)

    with leases.held(old), leases.held(current):
        wait_until_leased(databases, current)

    assert not is_leased(databases, old)


def test_a_released_or_ended_order_gets_no_lease(
    databases: Databases, stage: PostgresStage, leases: Leases
) -> None:
    released, ended, current = (a_claimed_order(stage) for _ in range(3))

    async def work() -> None:
        await stage.orders.release(released)
        claimed = ended
        for target in HAPPY_PATH[1:]:
            move = a_move(claimed, target)
            event = await stage.orders.move(move)
            assert event is not None
            claimed = claimed.after(move, event)
        assert claimed.order.status is CONFIRMED

    asyncio.run(work())
    execute(databases.orders_url, ALMOST_EXPIRED)

    with leases.held(released), leases.held(ended), leases.held(current):
        wait_until_leased(databases, current)

    assert not is_leased(databases, released)
    assert not is_leased(databases, ended)


def test_renewal_continues_over_a_new_connection(
    databases: Databases, stage: PostgresStage, leases: Leases
) -> None:
    claimed = a_claimed_order(stage)

    with leases.held(claimed):
        for _ in range(2):
            execute(databases.orders_url, ALMOST_EXPIRED)
            wait_until_leased(databases, claimed)
            execute(databases.orders_url, DISCONNECTED)


def test_nothing_is_renewed_after_the_close(databases: Databases, stage: PostgresStage) -> None:
    claimed = a_claimed_order(stage)
    leases = Leases(databases.orders_url, application_name=NAME, lease_s=10, renew_every_s=0.02)
    leases.close()

    with leases.held(claimed):
        execute(databases.orders_url, ALMOST_EXPIRED)

    assert not is_leased(databases, claimed)
