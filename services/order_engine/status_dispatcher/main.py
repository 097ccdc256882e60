"""Publishes the frames of one status queue on the channels of their orders."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.logs import configure_logs
from order_engine.execution.messages.hints import PUBLISH, status_queue
from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.messages.redis_needs import (
    pubsub_faults,
    queue_faults,
    report_faults,
)
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import StatusDispatcherSettings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.serving.admin import admin_port
from order_engine.serving.process import run, stop_signal
from rq_slots.hint_consumer import HintConsumer

STALE_AFTER_S = 5.0  # the position check has delivered the event by then

log = structlog.get_logger()


async def serve(settings: StatusDispatcherSettings, status: OrderStatus) -> None:
    stop = stop_signal()
    checking = asyncio.gather(
        report_faults(queue_faults, settings.queue_url),
        report_faults(pubsub_faults, settings.pubsub_url),
    )
    dispatcher = Dispatcher(Publisher(redis_client(settings.pubsub_url)), status)
    consumer = HintConsumer(
        status_queue(status),
        client=redis_client(settings.queue_url),
        function=PUBLISH,
        deliver=dispatcher.publish,
        batch_max=settings.ws_worker_concurrency,
        limit=settings.ws_worker_rate_limit,
        stale_after_s=STALE_AFTER_S,
    )

    async def redis_answers() -> bool:
        return not consumer.without_redis

    async def redis_keys_are_usable() -> bool:
        return not consumer.redis_is_unusable

    checks = {"redis": redis_answers, "redis_keys": redis_keys_are_usable}
    async with admin_port(checks, host=settings.admin_host, port=settings.admin_port):
        log.info("started", queue=consumer.queue, batch_max=settings.ws_worker_concurrency)
        consuming = asyncio.create_task(asyncio.to_thread(consumer.run))
        await stop.wait()
        checking.cancel()
        consumer.stop()
        await asyncio.wait({consuming}, timeout=settings.drain_s)


class Dispatcher:
    """Publishes the frames of hints, and measures how long after their commit."""

    def __init__(self, publisher: Publisher, status: OrderStatus) -> None:
        self._publisher = publisher
        self._published = metrics.EVENTS_PUBLISHED.labels(status=status)
        self._seconds = metrics.EVENT_DISPATCH_SECONDS.labels(status=status)

    def publish(self, hints: Sequence[Sequence[Any]]) -> None:
        """Hints are (order id, sealed frame, Unix seconds of the commit); others are left out."""
        valid = [hint for hint in hints if _is_valid(hint)]
        self._publisher.publish([(order_id, message) for order_id, message, _ in valid])
        self._published.inc(len(valid))
        now = time.time()
        for _, _, committed_at in valid:
            self._seconds.observe(min(max(0.0, now - committed_at), STALE_AFTER_S))


def _is_valid(hint: Sequence[Any]) -> bool:
    match hint:
        case [str(), str(), int() | float()]:
            return True
        case _:
            return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="status-dispatcher", description=__doc__)
    parser.add_argument(
        "--status",
        required=True,
        type=OrderStatus,
        choices=list(OrderStatus),
        help="the status queue to serve",
    )
    status: OrderStatus = parser.parse_args().status
    settings = read_settings(StatusDispatcherSettings)
    configure_logs(level=settings.log_level, deployable=f"status-dispatcher-{status}")
    run(serve(settings, status))
