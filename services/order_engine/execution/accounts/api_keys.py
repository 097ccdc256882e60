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

from order_engine.execution.domain.accounts import Caller, Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit, Statement
from order_engine.execution.stores.postgres import Reader, Row

KEY = re.compile(r"oe_([0-9a-f]{16})_([0-9a-f]{64})")
USE_NOTED_EVERY_S = 60.0
KEYS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key without its secret. `last_used_at` is true to a minute."""

    id: str
    account_id: AccountId
    scopes: frozenset[Scope]
    label: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    n: int  # looks for one key do not wait for each other
    key_id: str


class ApiKeys:
    """The keys in PostgreSQL. Calls raise StoreUnavailable while it is away."""

    def __init__(self, commits: GroupCommit, reader: Reader) -> None:
        self._commits = commits
        self._reader = reader
        self._numbers = itertools.count()
        self._noted: dict[str, float] = {}

    async def caller(self, shown: str) -> Caller | None:
        """Who shows this key; None where it is none, unknown, wrong, or revoked."""
        parts = KEY.fullmatch(shown)
        if parts is None:
            return None
        key_id, secret = parts.groups()
        row = await self._commits.run(LOOK, _Look(n=next(self._numbers), key_id=key_id))
        stored = bytes(row["secret_hash"]) if row else bytes(32)
        if not hmac.compare_digest(hashed(secret), stored) or row is None:
            return None
        await self._note_use(key_id)
        return caller_from(row)

    async def make(
        self, account_id: AccountId, scopes: Collection[Scope], *, label: str = ""
    ) -> tuple[ApiKey, str]:
        """A new key, and what its owner must show; that is told here and never again."""
        key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
        row = {
            "id": key_id,
            "account_id": account_id,
            "secret_hash": hashed(secret).hex(),
            "scopes": sorted(scopes),
            "label": label,
        }
        made = await self._commits.run(MAKE, row)
        return made, f"oe_{key_id}_{secret}"

    async def all(self, account_id: AccountId | None = None) -> list[ApiKey]:
        """The newest first, revoked ones too; of one account, or of all."""
        rows = await self._reader.rows(ALL, {"account_id": account_id, "most": KEYS_MAX})
        return [_api_key(row) for row in rows]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """None where there is no such key; a key revoked before keeps its moment."""
        return await self._commits.run(REVOKE, key_id)

    async def valid(self, key_ids: Collection[str]) -> frozenset[str]:
        """Those of `key_ids` that still open something."""
        rows = await self._reader.rows(VALID, {"key_ids": list(key_ids)})
        return frozenset(row["id"] for row in rows)

    async def _note_use(self, key_id: str) -> None:
        """Writes when the key was used; once a minute, or hot keys would queue for their own row."""
        now = time.monotonic()
        if now - self._noted.get(key_id, -USE_NOTED_EVERY_S) >= USE_NOTED_EVERY_S:
            self._noted[key_id] = now
            await self._commits.run(NOTE_USE, key_id)


def hashed(secret: str) -> bytes:
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


LOOK_SQL = """
SELECT v.n, k.id AS key_id, k.account_id, k.secret_hash, k.scopes
FROM json_to_recordset(%(rows)s::json) AS v(n bigint, key_id text)
JOIN api_keys k ON k.id = v.key_id
WHERE k.revoked_at IS NULL
"""

LOOK: Statement[_Look, Row | None] = Statement(
    name="look_key",
    sql=LOOK_SQL,
    key=lambda look: look.n,
    row=lambda look: {"n": look.n, "key_id": look.key_id},
    answer_key=lambda row: row["n"],
    result=first_row,
)

NOTE_USE_SQL = """
UPDATE api_keys k SET last_used_at = now()
FROM json_to_recordset(%(rows)s::json) AS v(key_id text)
WHERE k.id = v.key_id
RETURNING k.id
"""

NOTE_USE: Statement[str, Row | None] = Statement(
    name="note_key_use",
    sql=NOTE_USE_SQL,
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

MAKE: Statement[Row, ApiKey] = Statement(
    name="make_key",
    sql=MAKE_SQL,
    key=lambda row: row["id"],
    row=lambda row: row,
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
