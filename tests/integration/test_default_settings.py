"""The fleet with the settings that nobody has touched."""

import asyncio
from pathlib import Path

import pytest

from support.fleet import running_fleet
from support.stores import Databases
from support.trading import Trading

pytestmark = pytest.mark.fleet


def test_twenty_orders_with_three_clients_each_keep_every_promise(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    trading = Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, {}) as fleet:
            async with fleet.client() as engine:
                ids = await trading.place(engine, 20)
                await trading.follow(engine, ids, clients=3, within_s=90)

    asyncio.run(trade())

    assert len(trading.logs) == 60
    assert trading.violations(databases) == []
