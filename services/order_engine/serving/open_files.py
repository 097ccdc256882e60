"""How many files, and so connections, the process may have open."""

import resource
from contextlib import suppress

import structlog

OTHERS = 200  # listeners, stores, logs

log = structlog.get_logger()


def raise_open_file_limit(connections: int) -> None:
    """Takes all that the system gives; says so where it is too little, which else nothing would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system may give less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = connections + OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning("too few open files for all connections", open_files_max=soft, needed=needed)
