"""Publishes the frames of one status queue on the channels of their orders."""

import argparse
import time
import uuid

import redis
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.logs import configure_logs
from order_engine.execution.messages.hints import PUBLISH, STATUS_HINT_PREFIX, status_queue
from order_engine.execution.messages.publisher import Publisher
from order_engine.execution.settings import StatusDispatcherSettings, read_settings
from order_engine.execution.stores.redis_clients import redis_client
from order_engine.serving.admin import admin_port
from order_engine.serving.process import run, stop_signal
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker

STALE_AFTER_S = 5.0  # the position check has delivered the event by then

log = structlog.get_logger()


async def serve(settings: StatusDispatcherSettings, status: OrderStatus) -> None:
    stop = stop_signal()
    client = redis_client(settings.queue_url)
    publisher = Publisher(redis_client(settings.pubsub_url))
    queue = status_queue(status)
    slots = Slots(settings.ws_worker_concurrency)

    async def publish(order_id: str, message: str, committed_at: float) -> None:
        await publisher.publish(order_id, message)
        metrics.EVENTS_PUBLISHED.labels(status=status).inc()
        metrics.EVENT_DISPATCH_SECONDS.labels(status=status).observe(
            min(max(0.0, time.time() - committed_at), STALE_AFTER_S)
        )

    worker = SlotWorker(
        queue,
        client=client,
        functions={PUBLISH: publish},
        slots=slots,
        window=_window(client, settings),
        hint_prefix=STATUS_HINT_PREFIX,
        stale_after_s=STALE_AFTER_S,
        job_lease_s=settings.queue_job_lease_s,
    )

    async def redis_answers() -> bool:
        return not worker.without_redis

    async def redis_keys_are_usable() -> bool:
        return not worker.redis_is_unusable

    checks = {"redis": redis_answers, "redis_keys": redis_keys_are_usable}
    async with admin_port(checks, host=settings.admin_host, port=settings.admin_port):
        log.info("started", queue=queue, slots=slots.count)
        await worker.run(stop)
        await worker.drain(timeout_s=settings.drain_s)
    publisher.close()


def _window(client: redis.Redis, settings: StatusDispatcherSettings) -> RateWindow:
    """A rate window for this process alone: the limit applies to each dispatcher."""
    return RateWindow(
        client, key=f"dispatch-starts:{uuid.uuid4().hex}", limit=settings.ws_worker_rate_limit
    )


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
