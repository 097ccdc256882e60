"""Executes orders: jobs of the order queue on slots, and what recovery finds in PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import structlog

from execution import metrics
from execution.adapters.queues import EXECUTE, ORDER_HINT_PREFIX, ORDER_QUEUE, order_job_id
from execution.adapters.rate_window import WINDOW_S, RateWindow
from execution.adapters.redis_clients import redis_client
from execution.adapters.slot_worker import SlotWorker
from execution.adapters.slots import Slots
from execution.admin import admin_port
from execution.logs import configure_logs
from execution.serving import run, stop_signal
from execution.settings import OrderWorkerSettings, read_settings
from order_worker.recovery import Recovery
from order_worker.runtime import NAME, runtime

WINDOW_KEY = "order-starts"

log = structlog.get_logger()


async def serve(settings: OrderWorkerSettings) -> None:
    stop = stop_signal()
    client = redis_client(settings.queue_url)
    slots = Slots(settings.queue_max_concurrency)
    window = RateWindow(
        client, key=WINDOW_KEY, limit=settings.queue_rate_limit_per_minute, shared=True
    )
    metrics.SLOTS.labels(queue=ORDER_QUEUE).set(slots.count)
    async with runtime(settings, now=now) as running:

        async def recent_starts() -> dict[str, float]:
            ages_s = await running.orders.recent_starts(within_s=WINDOW_S)
            return {order_job_id(order_id): age_s for order_id, age_s in ages_s.items()}

        worker = SlotWorker(
            ORDER_QUEUE,
            client=client,
            functions={EXECUTE: running.executor.execute},
            slots=slots,
            window=window,
            hint_prefix=ORDER_HINT_PREFIX,
            store_answers=running.orders.answers,
            recent_starts=recent_starts,
        )
        recovery = Recovery(running.orders, worker, slots, window, running.executor.carry)
        async with admin_port(settings, {"postgres": running.orders.answers}):
            log.info("started", slots=slots.count, per_minute=window.limit)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker.run(stop))
                tasks.create_task(recovery.run(stop))
            log.info("stopping")
            await asyncio.gather(
                worker.drain(timeout_s=settings.drain_s),
                recovery.drain(timeout_s=settings.drain_s),
            )


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings = read_settings(OrderWorkerSettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
