"""Whether a worker's calls to Redis succeed, and why not."""

import time

import redis
import structlog

from rq_slots import metrics
from rq_slots.errors import keys_are_unusable

OUTAGE_AFTER_S = 1.0

log = structlog.get_logger()


class RedisState:
    """`is_unusable` while the last call failed because of what Redis holds: waiting does not help."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self.failing_since: float | None = None
        self.is_unusable = False

    @property
    def is_away(self) -> bool:
        """True when all calls have failed for more than OUTAGE_AFTER_S.

        Counted from the first failure and not from the last success: a process that was paused made
        no call, and is not without Redis.
        """
        since = self.failing_since
        return since is not None and time.monotonic() - since > OUTAGE_AFTER_S

    def note_success(self) -> None:
        self.failing_since = None
        self.is_unusable = False

    def note_failure(self, error: Exception) -> None:
        self.is_unusable = keys_are_unusable(error)
        log.warning(
            "redis call failed",
            error=str(error),
            without_redis=self.is_away,
            redis_is_unusable=self.is_unusable,
            exc_info=None if isinstance(error, redis.RedisError) else error,
        )
        metrics.REDIS_CALLS_FAILED.labels(queue=self._queue).inc()
        self.failing_since = self.failing_since or time.monotonic()

    def show(self) -> None:
        metrics.WITHOUT_REDIS.labels(queue=self._queue).set(self.is_away)
        metrics.REDIS_UNUSABLE.labels(queue=self._queue).set(self.is_unusable)
