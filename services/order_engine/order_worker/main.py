"""Executes orders: those that jobs of the order queue name, and those that recovery claims."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

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
from order_engine.execution.messages.redis_needs import queue_faults, report_faults
from order_engine.execution.orders.repository import Orders
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import OrderWorkerSettings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.order_worker.recovery import Recovery
from order_engine.order_worker.shutdown import unless_stopped
from order_engine.order_worker.wiring import NAME, runtime
from order_engine.serving.admin import admin_port
from order_engine.serving.process import run, stop_signal
from rq_slots.rate_window import WINDOW_S, RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker

WINDOW_KEY = "order-starts"
DRAIN_SHARE = 0.8  # of the drain time, for running orders to end; in the rest they are released

log = structlog.get_logger()


async def serve(settings: OrderWorkerSettings) -> None:
    stop = stop_signal()
    client = redis_client(settings.queue_url)
    checking = asyncio.create_task(report_faults(queue_faults, settings.queue_url))
    slots = Slots(settings.queue_max_concurrency)
    window = RateWindow(
        client, key=WINDOW_KEY, limit=settings.queue_rate_limit_per_minute, shared=True
    )
    async with runtime(settings, now=now) as running:
        worker = SlotWorker(
            ORDER_QUEUE,
            client=client,
            functions={EXECUTE: running.executor.execute},
            slots=slots,
            window=window,
            hint_prefix=ORDER_HINT_PREFIX,
            not_begun=(StoreUnavailable, Overloaded),
            store_answers=partial(_store_answers, running.orders, stop),
            recent_starts=partial(_recent_starts, running.orders, stop),
            job_lease_s=settings.queue_job_lease_s,
        )

        async def redis_keys_are_usable() -> bool:
            return not worker.redis_is_unusable

        recovery = Recovery(
            orders=running.orders,
            queue=worker,
            slots=slots,
            window=window,
            execute=running.executor.execute_claimed,
        )
        checks = {"postgres": running.orders.answers, "redis_keys": redis_keys_are_usable}
        async with admin_port(checks, host=settings.admin_host, port=settings.admin_port):
            log.info("started", slots=slots.count, per_minute=window.limit)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker.run(stop))
                tasks.create_task(recovery.run(stop))
                await stop.wait()
                log.info("stopping")
                drained_at = time.monotonic() + settings.drain_s * DRAIN_SHARE
            checking.cancel()
            left_s = max(drained_at - time.monotonic(), 0)
            await asyncio.gather(worker.drain(timeout_s=left_s), recovery.drain(timeout_s=left_s))


async def _store_answers(orders: Orders, stop: asyncio.Event) -> bool:
    with suppress(StoreUnavailable):
        return await unless_stopped(stop, orders.answers())
    return False


async def _recent_starts(orders: Orders, stop: asyncio.Event) -> dict[str, float]:
    """The ages in seconds of recent starts, by job id; raises StoreUnavailable on any failure."""
    try:
        ages_s = await unless_stopped(stop, orders.recent_starts(within_s=WINDOW_S))
    except (Overloaded, psycopg2.Error) as error:
        raise StoreUnavailable(str(error).strip()) from error
    return {order_job_id(order_id): age_s for order_id, age_s in ages_s.items()}


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings = read_settings(OrderWorkerSettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
