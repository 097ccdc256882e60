"""The limit of open files, and so of connections, of the process."""

import resource
from contextlib import suppress

import structlog

OTHER_FILES = 200  # listeners, connections to stores, logs

log = structlog.get_logger()


def raise_open_file_limit(connections: int) -> None:
    """Raises it as far as the system allows; warns when it stays too low for `connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system may allow less than its hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning("too few open files for all connections", open_files_max=soft, needed=needed)
