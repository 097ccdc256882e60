"""Which functions a job may name.

RQ imports whatever a job's hash says and calls it, with the JSON serializer as with pickle: whoever
can write to Redis could run any importable function. A job of the class made here resolves names
from a list and refuses all others, its callbacks included.
"""

from collections.abc import Container
from typing import Any

from rq.job import Job
from rq.utils import import_attribute

from execution.domain.errors import ExecutionError


class FunctionNotAllowed(ExecutionError):
    """The job names a function that is not on the list of its worker."""


def allowlisted(names: Container[str]) -> type[Job]:
    """A job class for `rq worker --job-class` and for our own workers."""

    def resolved(name: str | None) -> Any:
        if name is None:
            return None
        if name not in names:
            raise FunctionNotAllowed(name)
        return import_attribute(name)

    class AllowlistedJob(Job):
        @property
        def func(self) -> Any:
            if self.instance is not None:
                raise FunctionNotAllowed(f"a method of {type(self.instance)!r}")
            return resolved(self.func_name)

        @property
        def success_callback(self) -> Any:
            return resolved(self._success_callback_name)

        @property
        def failure_callback(self) -> Any:
            return resolved(self._failure_callback_name)

        @property
        def stopped_callback(self) -> Any:
            return resolved(self._stopped_callback_name)

    return AllowlistedJob
