"""Reads the call and the times in the fields of a job that was claimed.

Any client of Redis may have written them, so each reader has a bound. claim.lua checks the hash
first, and puts a job in quarantine whose hash is unreadable or too large. A job whose call is
unreadable is claimed all the same, and fails.
"""

import json
import zlib
from datetime import datetime
from typing import Any

ENTRIES_SKIPPED_MAX = 1_000  # entries of a queue that are no job, dropped by one call
WAIT_MAX_S = 86_400.0  # the most that a forged timestamp adds to the sum of all waits
CALL_BYTES_MAX = 65_536  # a status hint takes some 600
LATEST_S = 253_402_300_799.0  # the end of the year 9999, and of datetime


class TooLarge(ValueError):
    """The data is larger than the bound when it is decompressed."""


def inflated(packed: bytes) -> bytes:
    """The decompressed data. Raises TooLarge, or zlib.error when it is not compressed."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, CALL_BYTES_MAX)
    if inflater.unconsumed_tail:
        raise TooLarge(
            f"the data of a job must be at most {CALL_BYTES_MAX} bytes when decompressed"
        )
    return text


def call_in(data: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """The function's name and arguments in a job's data, or ('', [], {}) when it holds no call."""
    try:
        name, _, arguments, keywords = json.loads(_unpacked(data))
        return str(name), list(arguments), dict(keywords)
    except (ValueError, TypeError, RecursionError):
        return "", [], {}


def _unpacked(data: bytes) -> bytes:
    """As RQ reads it: decompressed, or unchanged when it is not compressed."""
    try:
        return inflated(data)
    except zlib.error:
        return data


def time_in(text: bytes) -> float | None:
    """Unix seconds of a number or of a timestamp as RQ writes it; None for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text.decode()).timestamp()
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds <= LATEST_S else None


def waited_s(enqueued_at: bytes, *, now: float) -> float | None:
    """Seconds since the job was enqueued, from 0 to WAIT_MAX_S; None when its time is unreadable."""
    since = time_in(enqueued_at)
    return None if since is None else min(max(now - since, 0.0), WAIT_MAX_S)
