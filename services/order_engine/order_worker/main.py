"""Executes orders: jobs of the order queue on slots, and what recovery finds in PostgreSQL."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

import psycopg2
import structlog

from order_engine.execution.domain.errors import Overloaded, StoreUnavailable
from order_engine.execution.logs import configure_logs
from order_engine.execution.messages.hints import (
    EXECUTE,
    ORDER_HINT_PREFIX,
    ORDER_QUEUE,
    order_job_id,
)
from order_engine.execution.settings import OrderWorkerSettings, read_settings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.order_worker.recovery import Recovery
from order_engine.order_worker.shutdown import answered
from order_engine.order_worker.wiring import NAME, runtime
from order_engine.serving.admin import admin_port
from order_engine.serving.process import run, stop_signal
from rq_slots.rate_window import WINDOW_S, RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker

WINDOW_KEY = "order-starts"
DRAIN_SHARE = 0.8  # of the time to end, for what is in hand; in the rest it is given back

log = structlog.get_logger()


async def serve(settings: OrderWorkerSettings) -> None:
    stop = stop_signal()
    client = redis_client(settings.queue_url)
    slots = Slots(settings.queue_max_concurrency)
    window = RateWindow(
        client, key=WINDOW_KEY, limit=settings.queue_rate_limit_per_minute, shared=True
    )
    async with runtime(settings, now=now) as running:

        async def recent_starts() -> dict[str, float]:
            reading = running.orders.recent_starts(within_s=WINDOW_S)
            try:
                ages_s = await answered(stop, reading)
            except (Overloaded, psycopg2.Error) as error:  # refused: as good as away
                raise StoreUnavailable(str(error).strip()) from error
            return {order_job_id(order_id): age_s for order_id, age_s in ages_s.items()}

        async def store_answers() -> bool:
            with suppress(StoreUnavailable):
                return await answered(stop, running.orders.answers())
            return False

        worker = SlotWorker(
            ORDER_QUEUE,
            client=client,
            functions={EXECUTE: running.executor.execute},
            slots=slots,
            window=window,
            hint_prefix=ORDER_HINT_PREFIX,
            not_begun=(StoreUnavailable, Overloaded),
            store_answers=store_answers,
            recent_starts=recent_starts,
        )
        recovery = Recovery(running.orders, worker, slots, window, running.executor.carry)
        async with admin_port(
            {"postgres": running.orders.answers}, host=settings.admin_host, port=settings.admin_port
        ):
            log.info("started", slots=slots.count, per_minute=window.limit)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker.run(stop))
                tasks.create_task(recovery.run(stop))
                await stop.wait()
                log.info("stopping")
                drained_at = time.monotonic() + settings.drain_s * DRAIN_SHARE
            left_s = max(drained_at - time.monotonic(), 0)
            await asyncio.gather(worker.drain(timeout_s=left_s), recovery.drain(timeout_s=left_s))


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings = read_settings(OrderWorkerSettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
