"""The settings of a session: those that the engine relies on, whatever a role, a database or the
environment has set, and those that the parameter `options` of a URL adds.

They are set by a statement, not by startup parameters, which poolers refuse.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import unquote

RELIED_ON: Mapping[str, str] = MappingProxyType(
    {
        "statement_timeout": "5000",
        "lock_timeout": "1000",
        "idle_in_transaction_session_timeout": "5000",
        "idle_session_timeout": "0",
        "transaction_timeout": "0",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off",
        "default_transaction_deferrable": "off",
        "datestyle": "ISO, MDY",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "enable_indexscan": "on",
        "enable_indexonlyscan": "on",
        "enable_bitmapscan": "on",
        "enable_nestloop": "on",
    }
)

# Every statement finds its rows by an index, whatever the size of the tables and the age of their
# statistics. A plan is made once for each connection.
PLANS: Mapping[str, str] = MappingProxyType(
    {
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
    }
)

# A migration may take and wait as long as it needs.
UNBOUNDED: Mapping[str, str] = MappingProxyType(
    {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
)

# A URL may set these otherwise. None: on, unless it is set to more than that.
DEFAULTS: Mapping[str, str | None] = MappingProxyType(
    {"search_path": "public", "timezone": "UTC", "synchronous_commit": None}
)

# psycopg2 quotes as the session was when it connected, and connects in UTF8.
NEVER_SET = frozenset(
    {
        "client_encoding",
        "standard_conforming_strings",
        "transaction_isolation",
        "transaction_read_only",
        "transaction_deferrable",
    }
)

SINCE: Mapping[str, int] = MappingProxyType(  # which version of PostgreSQL
    {"idle_session_timeout": 14, "transaction_timeout": 17}
)

_SETTINGS = """
set_config(name, coalesce(value, CASE current_setting(name) WHEN 'off' THEN 'on'
                                 ELSE current_setting(name) END), {is_local})
"""
_EACH = "FROM json_each_text(%(settings)s::json) AS s(name, value)"

# A pooler has a process number of its own, or none. There the settings end with the statement, so
# that they do not reach other clients of the same server session.
SET_IN_SESSION = f"""
SELECT pg_backend_pid() = %(pid)s AS is_direct,
       count({_SETTINGS.format(is_local="pg_backend_pid() <> %(pid)s")})
{_EACH}
"""
READ_ONLY_BY_DEFAULT = """
SELECT current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery() AS found
"""
SET_IN_STATEMENT = f"""
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT count({_SETTINGS.format(is_local="true")})
{_EACH};
"""
SET_WRITABLE = "SET TRANSACTION READ WRITE;"

_USER = re.compile(r"^[^@/]*@")
_WORD = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_SETTING = re.compile(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def session_settings(url: str, *, of_caller: Mapping[str, str], server_version: int) -> str:
    """All settings of a session as a JSON object. Raises ValueError as `url_settings` does."""
    settings = {**RELIED_ON, **DEFAULTS, **of_caller, **url_settings(url)}
    known = {
        name: value
        for name, value in settings.items()
        if SINCE.get(name, 0) <= server_version // 10_000
    }
    return json.dumps(known)


def url_settings(url: str) -> Mapping[str, str]:
    """What the parameter `options` of a URL sets.

    Raises ValueError when it cannot be read, and when the URL sets what the engine sets itself.
    """
    parameters = _parameters(url)
    if "service" in parameters:
        raise ValueError("service is not supported: write its parameters into the URL")
    encoding = parameters.get("client_encoding", "UTF8")
    if encoding.upper().replace("-", "") not in {"UTF8", "UNICODE", "AUTO"}:
        raise ValueError("client_encoding must be UTF8, or left out")
    settings = {}
    text = re.sub(r"(?<!\S)-c\s+", "-c", parameters.get("options", "").lstrip())
    for word in _WORD.findall(text):
        found = _SETTING.fullmatch(re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL))
        if found is None:
            raise ValueError("options must consist of -c name=value")
        name = found[1].lower().replace("-", "_")
        if name in NEVER_SET or name in RELIED_ON or name in PLANS:
            raise ValueError(f"options sets {name}, which the engine sets itself: leave it out")
        settings[name] = found[2]
    return settings


def _parameters(url: str) -> Mapping[str, str]:
    """The parameters as libpq reads them, for which `#` has no meaning."""
    query = _USER.sub("", url.partition("://")[2], count=1).partition("?")[2]
    pairs = (pair.partition("=") for pair in query.split("&"))
    return {unquote(name): unquote(value) for name, _, value in pairs}
