"""Values of one execution of a job, from its claim to its end."""

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

JobFunction = Callable[..., Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job in a slot. `function` is None when the job names none that is allowed.

    A plain job has no result, callback, dependent, repeat or rate limit of RQ: only its own keys
    change when it ends. `claimed_at` is of time.monotonic, `started_at` of the clock of the RateWindow.
    """

    id: bytes
    execution: bytes
    function: JobFunction | None
    arguments: list[Any]
    keywords: dict[str, Any]
    timeout_s: float
    plain: bool
    claimed_at: float
    started_at: float

    @property
    def member(self) -> bytes:
        """Its name in the started registry."""
        return self.id + b":" + self.execution


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJobs:
    """The result of one claim call.

    `head` is when the oldest waiting job was created, in Unix seconds. `left` has the ids of ended
    jobs that got dependents after they started: RQ has to end these.
    """

    jobs: Sequence[StartedJob]
    left: Set[bytes] = frozenset()
    suspended: bool = False
    window_unknown: bool = False
    tokens_left: int = 0
    wait_s: float = 0.0
    head: float | None = None
    empty: bool = False

    @property
    def is_idle(self) -> bool:
        """True when jobs may start but none waits."""
        return not self.jobs and self.tokens_left > 0


NOTHING = ClaimedJobs(jobs=())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    job: StartedJob
    result: Any = None
    error: Exception | None = None
