"""What an error of PostgreSQL means for the statement and its connection."""

import psycopg2
from psycopg2 import errorcodes

# The server is shutting down, starting, full, or (after a failover) no longer the primary.
CONNECTION_CLASSES = ("08", "53", "57P")
READ_ONLY = errorcodes.READ_ONLY_SQL_TRANSACTION

# Limits that connections set themselves; the lock of a migration may exceed them.
TOOK_TOO_LONG = frozenset({errorcodes.LOCK_NOT_AVAILABLE, errorcodes.QUERY_CANCELED})


def is_connection_loss(error: psycopg2.Error) -> bool:
    """Whether the statement may or may not have taken effect, or the server cannot serve."""
    code = error.pgcode
    if code is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return code == READ_ONLY or code.startswith(CONNECTION_CLASSES)
