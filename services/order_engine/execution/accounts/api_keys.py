"""API keys. PostgreSQL holds only the SHA-256 of each; a key has 256 random bits, so a plain hash is
enough.

Every check reads PostgreSQL, and concurrent checks share a statement. A revoked key is therefore
refused from the next request on, by every process.
"""

import hashlib
import hmac
import itertools
import re
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from order_engine.execution.domain.accounts import Caller, Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement

KEY = re.compile(r"oe_([0-9a-f]{16})_([0-9a-f]{64})")
USE_RECORDED_EVERY_S = 60.0
KEYS_MAX = 1_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret. `last_used_at` is accurate to a minute."""

    id: str
    account_id: AccountId
    scopes: frozenset[Scope]
    label: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    n: int  # makes checks of the same key independent of each other
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewKey:
    id: str
    account_id: AccountId
    secret_hash: str
    scopes: list[Scope]
    label: str


class ApiKeys:
    """The API keys in PostgreSQL. Calls raise StoreUnavailable while it is away."""

    def __init__(self, commits: GroupCommit, reader: Reader) -> None:
        self._commits = commits
        self._reader = reader
        self._numbers = itertools.count()
        self._recorded: dict[str, float] = {}

    async def caller(self, key: str) -> Caller | None:
        """The caller that sends `key`; None when the key is malformed, unknown, wrong or revoked."""
        parts = KEY.fullmatch(key)
        if parts is None:
            return None
        key_id, secret = parts.groups()
        row = await self._commits.run(CHECK, _Check(n=next(self._numbers), key_id=key_id))
        stored = bytes(row["secret_hash"]) if row else bytes(32)
        if not hmac.compare_digest(hashed(secret), stored) or row is None:
            return None
        await self._record_use(key_id)
        return caller_from(row)

    async def make(
        self, account_id: AccountId, scopes: Collection[Scope], *, label: str = ""
    ) -> tuple[ApiKey, str]:
        """A new key, and the text that its owner must send. The text is not stored."""
        key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
        new = _NewKey(
            id=key_id,
            account_id=account_id,
            secret_hash=hashed(secret).hex(),
            scopes=sorted(scopes),
            label=label,
        )
        made = await self._commits.run(MAKE, new)
        return made, f"oe_{key_id}_{secret}"

    async def all(self, account_id: AccountId | None = None) -> list[ApiKey]:
        """All keys, newest first, including revoked ones; of one account when it is given.

        Those that this version cannot read are left out.
        """
        rows, _ = await self._reader.readable_rows(
            ALL, {"account_id": account_id, "most": KEYS_MAX}
        )
        keys = []
        for row in rows:
            try:
                keys.append(_api_key(row))
            except ValueError as error:
                log.error("key not understood", key_id=row["id"], error=str(error))
        return keys

    async def revoke(self, key_id: str) -> ApiKey | None:
        """The revoked key; None when there is none. A second call keeps the time of the first."""
        return await self._commits.run(REVOKE, key_id)

    async def valid(self, key_ids: Collection[str]) -> frozenset[str]:
        """Those of `key_ids` that are not revoked."""
        rows = await self._reader.rows(VALID, {"key_ids": list(key_ids)})
        return frozenset(row["id"] for row in rows)

    async def _record_use(self, key_id: str) -> None:
        """Records the use at most once a minute, or calls with a busy key would queue for its row."""
        now = time.monotonic()
        if now - self._recorded.get(key_id, -USE_RECORDED_EVERY_S) >= USE_RECORDED_EVERY_S:
            self._recorded[key_id] = now
            await self._commits.run(RECORD_USE, key_id)


def hashed(secret: str) -> bytes:
    """The SHA-256 that stands for a secret in PostgreSQL."""
    return hashlib.sha256(secret.encode()).digest()


def caller_from(row: Row) -> Caller:
    return Caller(
        account_id=AccountId(row["account_id"]),
        scopes=frozenset(map(Scope, row["scopes"])),
        key_id=row["key_id"],
    )


def _api_key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        account_id=AccountId(row["account_id"]),
        scopes=frozenset(map(Scope, row["scopes"])),
        label=row["label"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )


def first_row(_: object, rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None


CHECK_SQL = """
SELECT v.n, k.id AS key_id, k.account_id, k.secret_hash, k.scopes
FROM json_to_recordset(%(rows)s::json) AS v(n bigint, key_id text)
JOIN api_keys k ON k.id = v.key_id
WHERE k.revoked_at IS NULL
"""

CHECK: Statement[_Check, Row | None] = Statement(
    name="check_key",
    sql=CHECK_SQL,
    key=lambda check: check.n,
    answer_key=lambda row: row["n"],
    result=first_row,
)

RECORD_USE_SQL = """
UPDATE api_keys k SET last_used_at = now()
FROM json_to_recordset(%(rows)s::json) AS v(key_id text)
WHERE k.id = v.key_id
RETURNING k.id
"""

RECORD_USE: Statement[str, Row | None] = Statement(
    name="record_key_use",
    sql=RECORD_USE_SQL,
    key=lambda key_id: key_id,
    row=lambda key_id: {"key_id": key_id},
    answer_key=lambda row: row["id"],
    result=first_row,
)

MAKE_SQL = """
WITH v AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS v(
        id text, account_id text, secret_hash text, scopes text[], label text)
), made AS (
    INSERT INTO api_keys (id, account_id, secret_hash, scopes, label)
    SELECT id, account_id, decode(secret_hash, 'hex'), scopes, label FROM v
    ON CONFLICT DO NOTHING
    RETURNING *
)
SELECT * FROM made
"""

MADE_BEFORE_SQL = """
SELECT k.*
FROM json_to_recordset(%(rows)s::json) AS v(id text)
JOIN api_keys k ON k.id = v.id
"""

MAKE: Statement[_NewKey, ApiKey] = Statement(
    name="make_key",
    sql=MAKE_SQL,
    key=lambda new: new.id,
    answer_key=lambda row: row["id"],
    result=lambda _, rows: _api_key(rows[0]),
    follow_up=MADE_BEFORE_SQL,
)

ALL = """
SELECT * FROM api_keys
WHERE %(account_id)s::text IS NULL OR account_id = %(account_id)s
ORDER BY created_at DESC, id
LIMIT %(most)s
"""

REVOKE_SQL = """
UPDATE api_keys k SET revoked_at = coalesce(k.revoked_at, now())
FROM json_to_recordset(%(rows)s::json) AS v(key_id text)
WHERE k.id = v.key_id
RETURNING k.*
"""

REVOKE: Statement[str, ApiKey | None] = Statement(
    name="revoke_key",
    sql=REVOKE_SQL,
    key=lambda key_id: key_id,
    row=lambda key_id: {"key_id": key_id},
    answer_key=lambda row: row["id"],
    result=lambda _, rows: _api_key(rows[0]) if rows else None,
)

VALID = "SELECT id FROM api_keys WHERE id = ANY(%(key_ids)s) AND revoked_at IS NULL"
