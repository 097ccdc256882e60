"""How long the leases last that claims and moves write, against real PostgreSQL."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.claims import RENEW, Claimer, lease_rows
from order_engine.execution.orders.moves import FailedAttempt
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.connections import connect
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_new_order, a_transaction, an_intent
from support.driven_orders import DrivenOrder
from support.evidence import rows
from support.stores import Databases, execute

LEASE_S = 120.0
LEFT = "SELECT extract(epoch FROM lease_until - now())::float8 AS left_s FROM orders"


@pytest.fixture
def orders(databases: Databases) -> Iterator[Orders]:
    commits = GroupCommit(databases.orders_url, application_name="test")
    reader = Reader(databases.orders_url, application_name="test", connections_max=1)
    orders = Orders(commits, reader, claimer=Claimer(name="worker", lease_s=LEASE_S))
    yield orders
    orders.close()


async def by_hint(orders: Orders, order_id: OrderId) -> ClaimedOrder | None:
    return await orders.claim(order_id)


async def by_watermark(orders: Orders, _: OrderId) -> ClaimedOrder | None:
    [claimed] = await orders.claim_waiting(before=None, lag_s=0, most=1)
    return claimed


async def by_recovery(orders: Orders, order_id: OrderId) -> ClaimedOrder | None:
    claimed = await orders.claim(order_id)
    assert claimed is not None
    await orders.release(claimed)
    [again] = await orders.claim_started(most=1)
    return again


async def moved(orders: Orders, order_id: OrderId) -> ClaimedOrder | None:
    claimed = await orders.claim(order_id)
    assert claimed is not None
    order = DrivenOrder(orders, claimed)
    await order.advance(to=OrderStatus.ROUTING)
    return order.claimed


async def with_a_further_intent(orders: Orders, order_id: OrderId) -> ClaimedOrder | None:
    submitted = await by_recovery(orders, order_id)
    assert submitted is not None
    order = DrivenOrder(orders, submitted)
    await order.advance(to=OrderStatus.SUBMITTED)
    attempt = FailedAttempt(
        order_id=order_id,
        epoch=submitted.epoch,
        attempt=1,
        step=OrderStatus.SUBMITTED,
        venue=None,
        error_code="intent_expired",
        delay_s=0.0,
        dead_intent=1,
    )
    assert await orders.record_failed_attempt(attempt)
    [again] = await orders.claim_started(most=1)
    assert await orders.record_intent(again, an_intent(n=2, transaction=a_transaction()))
    return again


@pytest.mark.parametrize("way", [by_hint, by_watermark, by_recovery, moved, with_a_further_intent])
def test_a_lease_lasts_as_long_as_it_is_set(
    orders: Orders,
    databases: Databases,
    way: Callable[[Orders, OrderId], Awaitable[ClaimedOrder | None]],
) -> None:
    async def work() -> None:
        placed = await orders.place(a_new_order())
        assert await way(orders, placed.order_id) is not None

    asyncio.run(work())
    [row] = rows(databases.orders_url, LEFT)

    assert LEASE_S - 30 < row["left_s"] <= LEASE_S


def test_a_renewal_lasts_as_long_as_it_is_set(orders: Orders, databases: Databases) -> None:
    async def work() -> ClaimedOrder:
        placed = await orders.place(a_new_order())
        claimed = await orders.claim(placed.order_id)
        assert claimed is not None
        return claimed

    claimed = asyncio.run(work())
    execute(databases.orders_url, "UPDATE orders SET lease_until = now()")
    leases = lease_rows([(claimed.order.id, claimed.epoch)], lease_s=LEASE_S)
    with closing(connect(databases.orders_url, application_name="test")) as connection:
        connection.cursor().execute(RENEW, {"rows": json.dumps(leases)})
    [row] = rows(databases.orders_url, LEFT)

    assert LEASE_S - 30 < row["left_s"] <= LEASE_S
