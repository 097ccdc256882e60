"""The worker as RQ's tools see it, and the ends of jobs that RQ's own code must write.

All calls here block and may raise redis.RedisError; SlotWorker makes them on its Redis thread.
"""

import os
import socket
import time
import uuid
from collections.abc import Container, Iterable
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import Execution
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.worker import BaseWorker
from rq.worker.base import WorkerStatus

from rq_slots.allowlist import allowlisted
from rq_slots.executions import EndedJob, StartedJob
from rq_slots.keys import QueueKeys, WorkerKeys

RESULT_TTL_S = 30
WORKER_TTL_S = 30

# Failures that pass. Any other comes from what Redis holds, such as a key of a wrong type.
OUTAGE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.WatchError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
)

log = structlog.get_logger()


class RqRegistration(BaseWorker):
    """A worker as `rq info` lists it. It has one queue, because RQ uses no intermediate list with more."""

    death_penalty_class = TimerDeathPenalty  # RQ's default needs the main thread

    def __init__(
        self, queue: str, *, client: redis.Redis, functions: Container[str], lease_s: int
    ) -> None:
        super().__init__(
            [queue],
            # RQ refuses the name of a killed worker for 480 s
            name=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            connection=client,
            serializer=JSONSerializer,
            job_class=allowlisted(functions),
            default_result_ttl=RESULT_TTL_S,
            worker_ttl=WORKER_TTL_S,
            prepare_for_work=False,  # would ask Redis, which may be away
        )
        self._lease_s = lease_s
        self.hostname, self.pid = socket.gethostname(), os.getpid()

    @property
    def keys(self) -> WorkerKeys:
        return WorkerKeys(name=self.name, worker=self.key, executions=self.executions_key)

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        return connection  # RQ would stretch the socket timeout to 415 s

    def beat(self, running: Iterable[StartedJob], *, busy: bool) -> None:
        """Renews the worker and its jobs. Registers the worker at the start and after a FLUSHALL."""
        if not self.connection.hexists(self.key, "birth"):
            self.connection.delete(self.key)  # a hash that has only counters is not a worker to RQ
            self.ip_address = str(self.connection.client_info()["addr"])
            self.register_birth()  # type: ignore[no-untyped-call]  # untyped in rq
        started = QueueKeys.of(self.queues[0].name).started
        expires_at = time.time() + self._lease_s
        with self.connection.pipeline(transaction=False) as pipeline:
            self.heartbeat(pipeline=pipeline)
            state = WorkerStatus.BUSY if busy else WorkerStatus.IDLE
            pipeline.hset(self.key, "state", state.value)
            for job in running:
                pipeline.zadd(started, {job.member: expires_at}, xx=True)
                pipeline.expire(f"{RQ_KEY_PREFIX}:execution:".encode() + job.member, self._lease_s)
            pipeline.execute()

    def finish_as_rq(self, ended: EndedJob) -> None:
        """Ends a job with a result, callbacks, dependents, repeats or a rate limit of RQ.

        Does nothing when the execution has left the started registry: a call whose reply was lost
        has ended it, or maintenance that saw this worker as dead.
        """
        job_id, queue = ended.job.id.decode(), self.queues[0]
        if self.connection.zscore(queue.started_job_registry.key, ended.job.member) is None:
            log.warning("job already ended", job_id=job_id)
            return
        try:
            job = self.job_class.fetch(
                job_id, connection=self.connection, serializer=self.serializer
            )
            # not fetched, because its hash may have expired while Redis was away
            execution = Execution(
                ended.job.execution.decode(), job_id, self.connection, worker_name=self.name
            )
            if ended.error is None:
                self._finalize_success(job, queue, execution, ended.result)
            else:
                self._finalize_failure(job, queue, execution, _exc_info(ended.error))
        except OUTAGE:
            raise
        except Exception:
            log.exception("job not ended, left to maintenance", job_id=job_id)


def _exc_info(error: Exception) -> tuple[type[Exception], Exception, Any]:
    return type(error), error, error.__traceback__
