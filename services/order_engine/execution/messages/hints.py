"""Hints: jobs on the seven RQ queues which say that an order waits or has moved.

A hint carries ids and event data only. PostgreSQL decides what is true, so a hint may be lost, come
twice or come late. `rq info` lists hints, and a stock `rq worker` with the JSON serializer can run
them.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

import redis
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.seals import Seal
from order_engine.execution.stores.batches import Batches
from rq_slots.enqueue import NewJob, enqueue

ORDER_QUEUE = "orders"
EXECUTE = "order_engine.order_worker.stock_rq_job.execute"
PUBLISH = "order_engine.status_dispatcher.stock_rq_job.publish"

# The predecessor's priorities: which dispatchers start first and stop last.
STATUS_PRIORITIES = {
    OrderStatus.PENDING: 5,
    OrderStatus.ROUTING: 6,
    OrderStatus.BUILDING: 7,
    OrderStatus.SUBMITTED: 8,
    OrderStatus.CONFIRMED: 9,
    OrderStatus.FAILED: 10,
}

ORDER_HINT_PREFIX = "o-"
STATUS_HINT_PREFIX = "s-"

ORDER_FAILURE_TTL_S = 30

log = structlog.get_logger()


def status_queue(status: OrderStatus) -> str:
    return f"order-status-{status}"


def order_job_id(order_id: OrderId) -> str:
    """The id of an order's one job, and of its token in the rate window."""
    return f"{ORDER_HINT_PREFIX}{order_id}"


def order_hint(order_id: OrderId, *, created_at: datetime) -> NewJob:
    """Says that an order waits. Must be enqueued once, because RQ runs an id twice that is queued twice."""
    return NewJob(
        queue=ORDER_QUEUE,
        job_id=order_job_id(order_id),
        function=EXECUTE,
        arguments=(str(order_id),),
        created_at=created_at,
        failure_ttl_s=ORDER_FAILURE_TTL_S,
        meta={"created_at": created_at.timestamp()},
    )


def status_hint(event: OrderEvent, seal: Seal) -> NewJob:
    """Says that an order has moved. Contains the sealed frame that its channel carries."""
    text = json.dumps(frame(event), separators=(",", ":"))
    return NewJob(
        queue=status_queue(event.status),
        job_id=f"{STATUS_HINT_PREFIX}{event.order_id}-{event.seq}",
        function=PUBLISH,
        arguments=(str(event.order_id), seal.close(text), event.occurred_at.timestamp()),
        created_at=event.occurred_at,
        meta={
            "created_at": event.occurred_at.timestamp(),
            "priority": STATUS_PRIORITIES[event.status],
        },
    )


class Hints:
    """Sends hints after a commit, on a thread of its own.

    Calls neither wait nor fail. When Redis is away or the buffer is full, the hint is dropped and
    counted; recovery or the position check then does its work.
    """

    def __init__(self, client: redis.Redis, seal: Seal, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._seal = seal
        self._now = now
        self._batches: Batches[NewJob, None] = Batches(
            self._write, name="hints", batch_max=256, backlog_max=10_000
        )

    def order_waits(self, order_id: OrderId, *, created_at: datetime) -> None:
        """Hints to the workers that a new order waits."""
        self._send(order_hint(order_id, created_at=created_at))

    def order_moved(self, event: OrderEvent) -> None:
        """Hints to the dispatchers that an order has moved."""
        self._send(status_hint(event, self._seal))

    def close(self) -> None:
        self._batches.close()

    def _send(self, hint: NewJob) -> None:
        if not self._batches.offer(hint):
            metrics.HINTS_DROPPED.labels(queue=hint.queue).inc()

    def _write(self, hints: Sequence[NewJob]) -> list[None]:
        try:
            enqueue(self._client, hints, now=self._now())
            outcome = metrics.HINTS_WRITTEN
        except redis.RedisError as error:
            log.warning("hints dropped", count=len(hints), error=str(error))
            outcome = metrics.HINTS_DROPPED
        for hint in hints:
            outcome.labels(queue=hint.queue).inc()
        return [None] * len(hints)
