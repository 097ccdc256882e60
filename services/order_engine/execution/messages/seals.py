"""Seals: the HMAC over a frame in Redis, so that a client with access to Redis cannot forge frames.

The secret is in PostgreSQL, which the processes that make frames (gateway, order-worker) and those
that send them to clients (ws-gateway) open anyway. Dispatchers pass sealed frames on and do not know
the secret. The ws-gateway drops a frame with a wrong seal, see verified_frames.py; its position check
then reads the event from PostgreSQL.
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
    """The part of `Reader` that is needed here; dispatchers must not import PostgreSQL."""

    async def rows(
        self, sql: str, parameters: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]: ...


class Seal:
    """Seals and opens texts. It is locked until `unlock` has read the secret."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    async def unlock(self, reader: Rows) -> None:
        """Reads the secret from PostgreSQL; retries until it succeeds."""
        while self._secret is None:
            try:
                rows = await reader.rows(NEWEST_SECRET, {})
                self._secret = bytes(rows[0]["secret"]) if rows else None
            except Exception as error:  # the table may not exist yet
                log.warning("seal secret not read, retrying", error=str(error))
            if self._secret is None:
                await asyncio.sleep(UNLOCK_EVERY_S)

    def close(self, text: str) -> str:
        """`text` after its seal. While this is locked, the seal is one that `open` never accepts."""
        return self._seal(text.encode()) + text

    def open(self, message: bytes) -> str | None:
        """The text of a sealed message; None when the seal is wrong or this is locked."""
        seal, text = message[:SEAL_CHARS], message[SEAL_CHARS:]
        if self._secret is None or not hmac.compare_digest(self._seal(text).encode(), seal):
            return None
        return text.decode()

    def _seal(self, text: bytes) -> str:
        if self._secret is None:
            return "-" * SEAL_CHARS
        return hmac.digest(self._secret, text, hashlib.sha256).hex()[:SEAL_CHARS]


NEWEST_SECRET = "SELECT secret FROM frame_seals ORDER BY id DESC LIMIT 1"  # noqa: S105 - it is SQL
