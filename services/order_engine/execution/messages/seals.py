"""Frames on their way through Redis are sealed, so that who can write to Redis cannot make one up.

The secret lives in PostgreSQL, which those that make frames (gateway, order-worker) and those that
show them to clients (ws-gateway) open anyway. Dispatchers carry sealed frames and need no secret. A
frame without a good seal is not shown: the position check then brings the event from PostgreSQL.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

SEAL_CHARS = 32  # 128 bits of HMAC-SHA-256
UNLOCK_EVERY_S = 0.5

log = structlog.get_logger()


class Rows(Protocol):
    """Whoever reads PostgreSQL. A dispatcher, which knows what a seal is, does not."""

    async def rows(
        self, sql: str, parameters: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]: ...


class Seal:
    """Locked until `unlock` has read the secret; then closes and opens at once, without I/O."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    async def unlock(self, reader: Rows) -> None:
        """Reads the secret from PostgreSQL, trying until it answers."""
        while self._secret is None:
            try:
                rows = await reader.rows(NEWEST_SECRET, {})
                self._secret = bytes(rows[0]["secret"]) if rows else None
            except Exception as error:  # the table itself may come late, with its migration
                log.warning("frame seal not read, tries again", error=str(error))
            if self._secret is None:
                await asyncio.sleep(UNLOCK_EVERY_S)

    def close(self, text: str) -> str:
        """`text` with its seal in front; with one that nobody takes while this is locked."""
        return self._seal(text.encode()) + text

    def open(self, message: bytes) -> str | None:
        """The text of a sealed message; None where the seal is not ours, or this is locked."""
        seal, text = message[:SEAL_CHARS], message[SEAL_CHARS:]
        if self._secret is None or not hmac.compare_digest(self._seal(text).encode(), seal):
            return None
        return text.decode()

    def _seal(self, text: bytes) -> str:
        if self._secret is None:
            return "-" * SEAL_CHARS
        return hmac.digest(self._secret, text, hashlib.sha256).hex()[:SEAL_CHARS]


NEWEST_SECRET = "SELECT secret FROM frame_seals ORDER BY id DESC LIMIT 1"  # noqa: S105 - it is SQL
