"""Results of one worker's executions that are not in Redis yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rq_slots.executions import EndedJob, StartedJob


@dataclass(slots=True)
class UnreportedResults:
    """Filled by the event loop; the Redis thread removes an entry once it is written."""

    ended: list[EndedJob] = field(default_factory=list)
    for_rq: list[EndedJob] = field(default_factory=list)  # RQ has to end these
    refused: list[StartedJob] = field(default_factory=list)  # go back to the head of the queue
    _unrecorded: dict[bytes, StartedJob] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.ended) + len(self.for_rq) + len(self.refused)

    def start(self, job: StartedJob) -> None:
        if job.plain:  # others get their record when they are claimed
            self._unrecorded[job.execution] = job

    def end(self, ended: EndedJob) -> None:
        self._unrecorded.pop(ended.job.execution, None)
        (self.ended if ended.job.plain else self.for_rq).append(ended)

    def refuse(self, job: StartedJob) -> None:
        self._unrecorded.pop(job.execution, None)
        self.refused.append(job)

    def unrecorded(self, *, claimed_before: float) -> Sequence[StartedJob]:
        """Jobs that still run and have no record yet."""
        return [j for j in list(self._unrecorded.values()) if j.claimed_at < claimed_before]

    def note_recorded(self, jobs: Iterable[StartedJob]) -> None:
        for job in jobs:
            self._unrecorded.pop(job.execution, None)
