"""The order queue's job for a stock `rq worker`, which has no slots and no runtime of its own."""

import asyncio
from datetime import UTC, datetime

from order_engine.execution.settings import OrderWorkerSettings, read_settings
from order_engine.order_worker.wiring import runtime


def execute(order_id: str) -> None:
    async def run() -> None:
        settings = read_settings(OrderWorkerSettings)
        async with runtime(settings, now=lambda: datetime.now(UTC)) as running:
            await running.executor.execute(order_id)

    asyncio.run(run())
