"""Hints: jobs on the seven RQ queues which say that an order waits or has moved.

A hint carries ids and event data only. PostgreSQL decides what is true, so a hint may be lost, come
twice or come late. `rq info` lists hints, and a stock `rq worker` with the JSON serializer can run
them.
"""

import collections
from collections.abc import Callable, Sequence
from datetime import datetime

import redis
import redis.asyncio
import structlog
from prometheus_client import Counter

from order_engine.execution import metrics
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame_text
from order_engine.execution.messages.seals import Seal
from order_engine.execution.stores.batches import Batches
from rq_slots.enqueue import NewJob, enqueue_async

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
    text, at = frame_text(event), event.occurred_at.timestamp()
    return NewJob(
        queue=status_queue(event.status),
        job_id=f"{STATUS_HINT_PREFIX}{event.order_id}-{event.seq}",
        function=PUBLISH,
        arguments=(str(event.order_id), seal.close(text), at),
        created_at=event.occurred_at,
        meta={"created_at": at, "priority": STATUS_PRIORITIES[event.status]},
    )


class Hints:
    """Writes the hints of committed events to Redis.

    Calls neither wait nor fail. When Redis is away or the buffer is full, hints are dropped and
    counted; recovery or the position check then does their work.
    """

    def __init__(
        self, client: redis.asyncio.Redis, seal: Seal, *, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._seal = seal
        self._now = now
        self._batches: Batches[OrderEvent, None] = Batches(
            self._write, name="hints", batch_max=256, backlog_max=10_000
        )

    def announce(self, events: Sequence[OrderEvent]) -> None:
        """Hints to the dispatchers that orders have moved, and to the workers that new ones wait."""
        if refused := self._batches.offer(events):
            for event in events[-refused:]:
                _count(metrics.HINTS_DROPPED, self._hints(event))

    async def finish(self) -> None:
        """Writes the hints that wait, then disconnects."""
        await self._batches.close()
        await self._client.aclose()

    async def _write(self, events: Sequence[OrderEvent]) -> list[None]:
        hints = [hint for event in events for hint in self._hints(event)]
        try:
            await enqueue_async(self._client, hints, now=self._now())
            _count(metrics.HINTS_WRITTEN, hints)
        except (redis.RedisError, OSError) as error:
            log.warning("hints dropped", count=len(hints), error=str(error))
            _count(metrics.HINTS_DROPPED, hints)
        return [None] * len(events)

    def _hints(self, event: OrderEvent) -> list[NewJob]:
        hints = [status_hint(event, self._seal)]
        if event.status is OrderStatus.PENDING:
            hints.append(order_hint(event.order_id, created_at=event.occurred_at))
        return hints


def _count(counter: Counter, hints: Sequence[NewJob]) -> None:
    for queue, count in collections.Counter(hint.queue for hint in hints).items():
        counter.labels(queue=queue).inc(count)
