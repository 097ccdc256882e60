"""What libpq is given to connect with."""

import os
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2 import extensions

from order_engine.execution.stores.session_settings import url_settings

CONNECT_TIMEOUT_S = 2
CONNECT_TIMEOUT_MAX_S = 30.0

# The URL says where to connect and what to set. These would change it behind its back.
OTHERS = (
    "PGSERVICE",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
)

WRONG_ADDRESS = "DATABASE_URL or CHAIN_DATABASE_URL has an unknown option, or a part that is not percent-encoded"


def fault_of(url: str) -> str | None:
    """What is wrong with a URL. libpq's own error may contain a part of the password."""
    try:
        extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        return WRONG_ADDRESS
    try:
        url_settings(url)
    except ValueError as error:
        return f"DATABASE_URL or CHAIN_DATABASE_URL: {error}"
    return None


def parameters_of(
    url: str, *, application_name: str, timeout_s: int = CONNECT_TIMEOUT_S
) -> Mapping[str, Any]:
    """The parameters of a connection beside its URL. Raises psycopg2.OperationalError on a wrong URL."""
    if fault := fault_of(url):
        raise psycopg2.OperationalError(fault)
    for name in OTHERS:
        os.environ.pop(name, None)  # noqa: TID251 - libpq reads them, and has no other switch
    defaults = {
        "application_name": application_name,
        "connect_timeout": timeout_s,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,
        "hostaddr": "",
    }
    given = extensions.parse_dsn(url)
    kept = {name: value for name, value in defaults.items() if name not in given}
    # `options` are set by a statement; empty, PGOPTIONS does not count either
    return {**kept, "client_encoding": "UTF8", "options": ""}


def connect_timeout_s(connection: extensions.connection) -> float:
    """How long to wait for it: what the URL says, from 1 s to CONNECT_TIMEOUT_MAX_S."""
    seconds = connection.get_dsn_parameters().get("connect_timeout", CONNECT_TIMEOUT_S)
    return min(max(float(seconds), 1.0), CONNECT_TIMEOUT_MAX_S)
