"""The job of the order queue as a stock `rq worker` runs it: each call opens its own runtime."""

import asyncio
from datetime import UTC, datetime

from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import OrderWorkerSettings
from order_engine.order_worker.wiring import runtime


def execute(order_id: str) -> None:
    async def run() -> None:
        settings = read_settings(OrderWorkerSettings)
        async with runtime(settings, now=lambda: datetime.now(UTC)) as running:
            await running.executor.execute(order_id)

    asyncio.run(run())
