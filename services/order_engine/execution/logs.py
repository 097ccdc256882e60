"""Logs as JSON lines: a fixed sentence, variable parts in fields, and no secrets."""

import json
import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from order_engine.execution.log_lines import LogLines
from order_engine.execution.log_repeats import Repeats

# The last resort, applied to whole lines, because errors of libraries may contain secrets. Each rule
# runs only when its mark is in the line, which is rare.
REDACTIONS = (
    # the password of a URL, even one that should have been percent-encoded
    ("://", re.compile(r'(://[^\s:/@"\\]*:)(?:(?!://)(?:\\.|[^\s"\\]))*@'), r"\1***@"),
    # an option of a URL, a libpq connection string, or a mapping
    (
        "assword",
        re.compile(r"(password\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s&\"'\\,)}]+", re.IGNORECASE),
        r"\1***",
    ),
    ("oe_", re.compile(r"(oe_[0-9a-f]{16}_)[0-9a-f]{64}"), r"\1***"),
    ("oest_", re.compile(r"(oest_)[0-9a-f]{64}"), r"\1***"),
)

log = structlog.get_logger()


def configure_logs(*, level: str, deployable: str) -> None:
    """Writes the logs of structlog and of the standard library, and the error that ends the process
    or a thread, to stdout: one JSON object per line.
    """

    def add_deployable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"deployable": deployable, **event}

    context: Processor = structlog.contextvars.merge_contextvars
    fields: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_deployable,
    ]
    rendering: list[Processor] = [
        structlog.processors.ExceptionRenderer(
            # local variables contain settings, keys and requests
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
        structlog.processors.JSONRenderer(serializer=_redacted_json, default=str),
    ]
    threshold = logging.getLevelNamesMapping()[level]
    lines = LogLines(sys.stdout)
    structlog.configure(
        processors=[context, Repeats(), *fields, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[context, *fields],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    sys.excepthook = _log_end_of_process
    threading.excepthook = _log_end_of_thread


def redacted(line: str) -> str:
    """The line with passwords and the secret part of API keys and stream tokens masked."""
    for mark, secret, mask in REDACTIONS:
        if mark in line:
            line = secret.sub(mask, line)
    return line


def _redacted_json(event: EventDict, **options: Any) -> str:
    return redacted(json.dumps(event, **options))


def _log_end_of_process(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        log.critical("process ended by an error", exc_info=(kind, error, traceback))


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:  # None when memory ran out while it was created
        log.critical(
            "thread ended by an error",
            exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
        )
