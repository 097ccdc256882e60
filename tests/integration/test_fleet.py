"""Every process of the fleet together, from POST to the last frame."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest

from order_engine.execution.domain.status import OrderStatus
from support.evidence import rows
from support.fleet import INSTANT, Fleet, running_fleet
from support.stores import Stores, emptied, fresh_databases
from support.trading import Trading

pytestmark = pytest.mark.fleet

HAPPY_PATH = [
    OrderStatus.PENDING,
    OrderStatus.ROUTING,
    OrderStatus.BUILDING,
    OrderStatus.SUBMITTED,
    OrderStatus.CONFIRMED,
]


@pytest.fixture(scope="module")
def fleet(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fresh_databases(stores) as databases:
        directory = tmp_path_factory.mktemp("fleet")
        settings = INSTANT | {"QUEUE_RATE_LIMIT_PER_MINUTE": "0", "WS_WORKER_RATE_LIMIT": "0"}
        with running_fleet(databases, emptied(stores.redis_url), directory, settings) as fleet:
            yield fleet


def test_an_order_goes_from_post_to_its_last_frame(fleet: Fleet) -> None:
    trading = Trading()

    async def trade() -> None:
        async with fleet.client() as engine:
            [order_id] = await trading.place(engine, 1)
            await trading.follow(engine, [order_id], clients=1, within_s=30)
            order = await engine.get_order(order_id)

            frames = trading.logs["client-0", order_id]
            assert [frame.status for frame in frames] == HAPPY_PATH
            assert [frame.seq for frame in frames] == [1, 2, 3, 4, 5]
            assert frames[-1].tx_hash == order.tx_hash is not None
            assert frames[-1].executed_price == order.executed_price is not None
            assert order.amount_out == Decimal(100) * order.executed_price

    asyncio.run(trade())

    assert [
        v for v in trading.violations(fleet.databases) if v.order_id in trading.acknowledged
    ] == []


def test_an_unreachable_minimum_fails_the_order_with_its_reason(fleet: Fleet) -> None:
    trading = Trading()

    async def trade() -> None:
        async with fleet.client() as engine:
            [order_id] = await trading.place(engine, 1, min_amount_out="1000000")
            await trading.follow(engine, [order_id], clients=1, within_s=30)
            order = await engine.get_order(order_id)

            last = trading.logs["client-0", order_id][-1]
            assert last.status is OrderStatus.FAILED
            assert last.error_code == order.error_code == "min_amount_out_unreachable"
            assert order.tx_hash is None

    asyncio.run(trade())

    assert (
        rows(
            fleet.databases.chain_url,
            "SELECT 1 FROM chain.transactions WHERE order_id = %s",
            [trading.acknowledged[0]],
        )
        == []
    )


def test_a_late_client_still_sees_the_first_status(fleet: Fleet) -> None:
    trading = Trading()

    async def trade() -> None:
        async with fleet.client() as engine:
            [order_id] = await trading.place(engine, 1)
            await trading.follow(engine, [order_id], clients=1, within_s=30)

            late = [frame.seq async for frame in engine.stream(order_id)]
            resumed = [frame.seq async for frame in engine.stream(order_id, after=3)]

            assert late == [1, 2, 3, 4, 5]
            assert resumed == [4, 5]

    asyncio.run(trade())


def test_fifty_orders_at_once_all_end_as_promised(fleet: Fleet) -> None:
    trading = Trading()

    async def trade() -> None:
        async with fleet.client() as engine:
            ids = await trading.place(engine, 50)
            await trading.follow(engine, ids, clients=2, within_s=60)

    asyncio.run(trade())

    assert trading.violations(fleet.databases) == []


def test_a_process_ends_cleanly_on_sigterm(fleet: Fleet) -> None:
    codes = {}
    for name, deployable in fleet.deployables.items():
        codes[name] = deployable.terminate()
    fleet.start()

    assert set(codes.values()) == {0}
