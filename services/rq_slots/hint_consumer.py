"""Takes the hints of one RQ queue in batches, each at most once.

A hint says what another store remembers, so that losing one costs only time. It leaves Redis when it
is taken: it needs no lease, no registry and no call that ends it. Use SlotWorker for jobs that must
not be lost.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from rq.defaults import RQ_KEY_PREFIX
from rq.suspension import WORKERS_SUSPENDED

from rq_slots import metrics
from rq_slots.direct_connection import DirectConnection
from rq_slots.job_call import CALL_BYTES_MAX, ENTRIES_SKIPPED_MAX, call_in, waited_s
from rq_slots.keys import QueueKeys
from rq_slots.rate_window import LocalWindow
from rq_slots.redis_state import RedisState
from rq_slots.registration import RqRegistration
from rq_slots.scripts import lua

IDLE_BLOCK_S = 0.75  # below the client's socket timeout
SUSPENDED_PAUSE_S = 0.5
FAILED_PAUSE_S = 0.5
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
BEAT_EVERY_S = 10.0

Deliver = Callable[[Sequence[Sequence[Any]]], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenHints:
    """`arguments` has those of each hint that calls the consumer's function; `taken` counts all."""

    arguments: Sequence[Sequence[Any]]
    taken: int
    suspended: bool


class HintConsumer:
    """Calls `deliver` with the arguments of up to `batch_max` hints at a time.

    Only hints that name `function` are delivered. At most `limit` are taken in any 60 s (0: no
    limit). A hint older than `stale_after_s` (0: never) is dropped, if it is also that much older
    than the newest hint in the queue. An idle consumer sees `stop` within IDLE_BLOCK_S.
    """

    def __init__(
        self,
        queue: str,
        *,
        client: redis.Redis,
        function: str,
        deliver: Deliver,
        batch_max: int,
        limit: int,
        stale_after_s: float = 0,
    ) -> None:
        self.queue = queue
        self._redis_calls = DirectConnection(client)
        self._function = function
        self._deliver = deliver
        self._batch_max = batch_max
        self._stale_after_s = stale_after_s
        self._keys = QueueKeys.of(queue)
        self._window = LocalWindow(limit=limit)
        self._take_script = client.register_script(lua("take_hints"))
        self._registration = RqRegistration(
            queue, client=client, functions=(function,), lease_s=int(BEAT_EVERY_S)
        )
        self._redis = RedisState(queue)
        self._stopped = threading.Event()
        self._next_beat = 0.0
        self._started = metrics.JOBS_STARTED.labels(queue=queue)
        self._succeeded = metrics.JOBS_FINISHED.labels(queue=queue, outcome="succeeded")
        self._failed = metrics.JOBS_FINISHED.labels(queue=queue, outcome="failed")
        self._stale = metrics.JOBS_STALE.labels(queue=queue)  # at 0, so that the first has a rate
        self._malformed = metrics.JOBS_QUARANTINED.labels(queue=queue)
        self._wait_seconds = metrics.JOB_WAIT_SECONDS.labels(queue=queue)
        self._seconds = metrics.JOB_SECONDS.labels(queue=queue)
        self._busy = metrics.SLOTS_BUSY.labels(queue=queue)
        metrics.SLOTS.labels(queue=queue).set(batch_max)

    @property
    def without_redis(self) -> bool:
        """True when all calls have failed for more than 1 s."""
        return self._redis.is_away

    @property
    def redis_is_unusable(self) -> bool:
        """True after a call that failed because of what Redis holds, such as a key of a wrong type."""
        return self._redis.is_unusable

    def stop(self) -> None:
        """Makes `run` return after the batch in hand. Safe to call from any thread."""
        self._stopped.set()

    def run(self) -> None:
        """Takes and delivers hints until `stop` is called. Blocks: run it on a thread of its own."""
        while not self._stopped.is_set():
            try:
                self._turn()
                self._redis.note_success()
            except Exception as error:  # an unexpected reply must not end the process
                self._redis.note_failure(error)
                self._stopped.wait(FAILED_PAUSE_S)
            self._redis.show()
        try:
            self._registration.register_death()  # type: ignore[no-untyped-call]  # untyped in rq
        except redis.RedisError as error:
            log.warning("worker not unregistered", error=str(error))
        self._redis_calls.close()

    def _turn(self) -> None:
        """Takes hints and delivers them, or waits: for a hint, for the limit, or for `rq resume`."""
        self._beat_when_due()
        allowance = self._window.reserve_local(self._batch_max)
        hints: TakenHints | None = None
        try:
            if allowance.reserved:
                hints = self._take(allowance.reserved)
        finally:
            self._window.settle_local(allowance, started=hints.taken if hints else 0)
        if hints is None:
            self._stopped.wait(min(max(allowance.wait_s, PAUSE_MIN_S), PAUSE_MAX_S))
        elif hints.suspended:
            self._stopped.wait(SUSPENDED_PAUSE_S)
        else:
            if hints.taken:
                self._call(hints)
            if hints.taken < allowance.reserved:
                self._wait_for_one()

    def _beat_when_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._registration.beat((), busy=False)
            self._next_beat = now + BEAT_EVERY_S

    def _take(self, most: int) -> TakenHints:
        state, stale, malformed, taken = self._redis_calls.run(
            self._take_script,
            keys=[self._keys.waiting, WORKERS_SUSPENDED],
            args=[
                *(most, RQ_KEY_PREFIX, self._stale_after_s),
                *(CALL_BYTES_MAX, most + ENTRIES_SKIPPED_MAX),
            ],
        )
        self._stale.inc(stale)
        now, calls = time.time(), []
        for data, enqueued_at in zip(taken[::2], taken[1::2], strict=True):
            name, arguments, _ = call_in(data)
            if name == self._function:
                calls.append(arguments)
            else:
                malformed += 1
            if (waited := waited_s(enqueued_at, now=now)) is not None:
                self._wait_seconds.observe(waited)
        self._malformed.inc(malformed)
        if malformed:
            log.warning("malformed hints dropped", queue=self.queue, count=malformed)
        return TakenHints(arguments=calls, taken=len(taken) // 2, suspended=state == b"suspended")

    def _call(self, hints: TakenHints) -> None:
        count = len(hints.arguments)
        self._started.inc(count)
        self._busy.set(count)
        began = time.perf_counter()
        try:
            self._deliver(hints.arguments)
            self._succeeded.inc(count)
        except Exception as error:
            self._failed.inc(count)
            log.warning("hints not delivered", queue=self.queue, count=count, error=str(error))
        self._seconds.observe(time.perf_counter() - began)

    def _wait_for_one(self) -> None:
        """Returns when a hint is in the queue, on `stop`, and when a heartbeat is due."""
        self._busy.set(0)
        while not self._stopped.is_set() and time.monotonic() < self._next_beat:
            # moves the head to where it is
            waiting = self._keys.waiting
            [head] = self._redis_calls.call(
                ("BLMOVE", waiting, waiting, "LEFT", "LEFT", IDLE_BLOCK_S)
            )
            if head is not None:
                return
