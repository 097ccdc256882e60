"""Logs as JSON lines: a fixed sentence, the variable parts in fields."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logs(*, level: str, deployable: str) -> None:
    """Sends structlog and the standard library's loggers to stdout, one JSON object per line."""

    def add_deployable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"deployable": deployable, **event}

    fields: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_deployable,
    ]
    rendering: list[Processor] = [
        structlog.processors.dict_tracebacks,
        structlog.processors.JSONRenderer(default=str),
    ]
    threshold = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[*fields, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=fields,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
