"""The job of the order queue, against real PostgreSQL."""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.settings import OrderWorkerSettings
from order_engine.order_worker.wiring import runtime
from support.builders import a_new_order
from support.evidence import rows
from support.stores import Databases

LEASE = "SELECT status, claims, lease_owner FROM orders WHERE id = %s"


@pytest.fixture
def settings(databases: Databases, redis_url: str) -> OrderWorkerSettings:
    return OrderWorkerSettings(
        database_url=databases.orders_url,
        chain_database_url=databases.chain_url,
        redis_url=redis_url,
    )


@pytest.mark.parametrize("turns", range(1, 6))
def test_a_job_that_is_cancelled_at_any_point_of_its_claim_releases_it(
    databases: Databases, settings: OrderWorkerSettings, turns: int
) -> None:
    """Otherwise jobs with a timeout of zero could make orders fail as stuck."""
    order = a_new_order(id=OrderId(uuid.uuid4()))

    async def stop_early() -> None:
        async with runtime(settings, now=lambda: datetime.now(UTC)) as running:  # noqa: TID251
            await running.orders.place(order)
            executing = asyncio.create_task(running.executor.execute(str(order.id)))
            await asyncio.wait({executing}, timeout=0)
            for _ in range(turns):
                await asyncio.wait({executing}, timeout=0)
            executing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await executing

    asyncio.run(stop_early())
    [row] = rows(databases.orders_url, LEASE, [str(order.id)])

    assert (row["claims"], row["lease_owner"]) == (0, None)
