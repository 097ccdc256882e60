"""A concurrent worker for RQ queues: N asyncio slots in one process, on RQ's own keys."""

from rq_slots.enqueue import NewJob, QueueState, enqueue, queue_states
from rq_slots.errors import FunctionNotAllowed, JobRefused, RqSlotsError
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker

__all__ = [
    "FunctionNotAllowed",
    "JobRefused",
    "NewJob",
    "QueueState",
    "RateWindow",
    "RqSlotsError",
    "SlotWorker",
    "Slots",
    "enqueue",
    "queue_states",
]
