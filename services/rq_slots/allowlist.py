"""Job classes that restrict what a job's hash can do.

RQ imports the function that a job's hash names and calls it, with the JSON serializer as with
pickle: any client that can write to Redis could run any importable function. A job of the class made
here resolves names, those of callbacks included, from a list and refuses all others. It sends no
webhooks, which could make the worker send requests to any address, and it bounds what it unpacks.
RQ sees a job that cannot be read as one that does not exist, which its maintenance skips.
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
from rq_slots.job_call import inflated

HASH_BYTES_MAX = 1_048_576

log = structlog.get_logger()


class UnreadableJob(NoSuchJobError):
    """The job's key does not hold a job, or holds more than a job may."""


class BoundedJob(Job):
    """A job that is read within bounds and sends no webhooks."""

    def refresh(self) -> None:
        size = self.connection.memory_usage(self.key, samples=0) or 0
        if size > HASH_BYTES_MAX:
            raise UnreadableJob(
                f"{self.key} takes {size} bytes; a job takes at most {HASH_BYTES_MAX}"
            )
        super().refresh()  # type: ignore[no-untyped-call]  # untyped in rq

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        try:
            for field in (b"data", b"exc_info"):
                with suppress(zlib.error):  # RQ uses it uncompressed
                    inflated(raw_data.get(field, b""))
            return super().restore(raw_data)
        except Exception as error:
            raise UnreadableJob(f"{self.key} cannot be read as a job") from error

    def send_webhooks(self, status: object, *, exc_string: str | None = None) -> None:
        if self.webhooks:
            log.warning("webhooks not sent", job_id=self.id, count=len(self.webhooks))


def allowlisted(names: Container[str]) -> type[Job]:
    """A job class for `rq worker --job-class` and for SlotWorker."""

    def resolved(name: str | None) -> Any:
        if name is None:
            return None
        if name not in names:
            raise FunctionNotAllowed(name)
        return import_attribute(name)

    class AllowlistedJob(BoundedJob):
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
