"""Which functions a job may name.

RQ imports whatever a job's hash says and calls it, with the JSON serializer as with pickle: whoever
can write to Redis could run any importable function. A job of the class made here resolves names
from a list and refuses all others, its callbacks included. It sends no webhooks, which would ask
anything of anybody in the worker's name, and unpacks no data without bound. A job that cannot be
read is to RQ one that is not there, which its maintenance passes over.
"""

import zlib
from collections.abc import Container
from contextlib import suppress
from typing import Any

import structlog
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import import_attribute

from rq_slots.errors import FunctionNotAllowed
from rq_slots.job_data import inflated

HASH_BYTES_MAX = 1_048_576

log = structlog.get_logger()


class UnreadableJob(NoSuchJobError):
    """There is something in the job's place that is no job, or more than one may hold."""


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

        def refresh(self) -> None:
            size = self.connection.memory_usage(self.key, samples=0) or 0
            if size > HASH_BYTES_MAX:
                raise UnreadableJob(f"no job takes {size} bytes: {self.key}")
            super().refresh()  # type: ignore[no-untyped-call]  # untyped in rq

        def restore(self, raw_data: dict[bytes, bytes]) -> Any:
            try:
                for field in (b"data", b"exc_info"):
                    with suppress(zlib.error):  # RQ takes it as it is
                        inflated(raw_data.get(field, b""))
                return super().restore(raw_data)
            except Exception as error:
                raise UnreadableJob(f"no job can be read: {self.key}") from error

        def send_webhooks(self, status: object, *, exc_string: str | None = None) -> None:
            if self.webhooks:
                log.warning("webhooks not sent", job_id=self.id, count=len(self.webhooks))

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
