"""Stream tokens: a browser cannot send a header with a WebSocket, so it opens a stream with one.

PostgreSQL holds only the SHA-256 of each.
"""

import re
import secrets
import uuid
from dataclasses import dataclass

from order_engine.execution.accounts.api_keys import caller_from, first_row, hashed
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement

TOKEN = re.compile(r"oest_[0-9a-f]{64}")
STREAM_TOKEN_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issue:
    token_hash: str
    account_id: AccountId
    key_id: str | None
    lasts_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Redemption:
    token_hash: str
    by: str


class StreamTokens:
    """The stream tokens in PostgreSQL. Calls raise StoreUnavailable while it is away."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits

    async def issue(self, caller: Caller) -> str:
        """A token that opens one stream as `caller`, once, within STREAM_TOKEN_S."""
        token = f"oest_{secrets.token_hex(32)}"
        issued = _Issue(
            token_hash=hashed(token).hex(),
            account_id=caller.account_id,
            key_id=caller.key_id,
            lasts_s=STREAM_TOKEN_S,
        )
        await self._commits.run(ISSUE, issued)
        return token

    async def redeem(self, token: str) -> Caller | None:
        """The caller that the token was issued to; None when it is unknown, used or expired."""
        if TOKEN.fullmatch(token) is None:
            return None
        redemption = _Redemption(token_hash=hashed(token).hex(), by=str(uuid.uuid4()))
        row = await self._commits.run(REDEEM, redemption)
        return None if row is None else caller_from(row)


# Deletes expired tokens with each new one.
ISSUE_SQL = """
WITH expired AS (
    DELETE FROM stream_tokens
    WHERE token_hash IN (
        SELECT token_hash FROM stream_tokens WHERE expires_at < now() - interval '1 minute'
        LIMIT 1000 FOR UPDATE SKIP LOCKED)
)
INSERT INTO stream_tokens (token_hash, account_id, key_id, expires_at)
SELECT decode(token_hash, 'hex'), account_id, key_id, now() + make_interval(secs => lasts_s)
FROM json_to_recordset(%(rows)s::json) AS v(
    token_hash text, account_id text, key_id text, lasts_s double precision)
ON CONFLICT DO NOTHING
RETURNING encode(token_hash, 'hex') AS token_hash
"""

ISSUE: Statement[_Issue, None] = Statement(
    name="issue_stream_token",
    sql=ISSUE_SQL,
    key=lambda issue: issue.token_hash,
    answer_key=lambda row: row["token_hash"],
    result=lambda _, __: None,
)

# A token opens one stream. `used_by` lets a repeat after a lost reply find its own redemption.
REDEEM_SQL = """
WITH redeemed AS (
    UPDATE stream_tokens t SET used_by = v.by
    FROM json_to_recordset(%(rows)s::json) AS v(token_hash text, by uuid)
    WHERE t.token_hash = decode(v.token_hash, 'hex') AND t.expires_at > now()
      AND (t.used_by IS NULL OR t.used_by = v.by)
    RETURNING t.*
)
SELECT encode(r.token_hash, 'hex') AS token_hash, r.used_by::text AS used_by, r.account_id, r.key_id,
       ARRAY['read'] AS scopes
FROM redeemed r
LEFT JOIN api_keys k ON k.id = r.key_id
WHERE k.revoked_at IS NULL
"""

REDEEM: Statement[_Redemption, Row | None] = Statement(
    name="redeem_stream_token",
    sql=REDEEM_SQL,
    key=lambda redemption: (redemption.token_hash, redemption.by),
    answer_key=lambda row: (row["token_hash"], row["used_by"]),
    result=first_row,
)
