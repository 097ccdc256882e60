"""The names of a queue's keys in Redis, as RQ forms them, and of the library's own keys."""

from dataclasses import dataclass

from rq.defaults import RQ_KEY_PREFIX
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKeys:
    waiting: str
    intermediate: str
    started: str
    failed: str
    quarantine: str
    probe: str
    first_seen: str

    @classmethod
    def of(cls, queue: str) -> "QueueKeys":
        waiting = Queue.redis_queue_namespace_prefix + queue
        return cls(
            waiting=waiting,
            intermediate=IntermediateQueue.get_intermediate_queue_key(waiting),
            started=StartedJobRegistry.key_template.format(queue),
            failed=FailedJobRegistry.key_template.format(queue),
            quarantine=f"{RQ_KEY_PREFIX}:quarantine:{queue}",
            probe=f"{RQ_KEY_PREFIX}:probe:{queue}",
            first_seen=f"{RQ_KEY_PREFIX}:first-seen:{queue}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKeys:
    """A worker's name, and the keys of its hash and of its executions."""

    name: str
    worker: str
    executions: str
