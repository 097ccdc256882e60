"""Errors that the worker raises, and what an error of Redis means."""

import redis


class RqSlotsError(Exception):
    """Any error that the worker raises on purpose."""


class JobRefused(RqSlotsError):
    """A job was not run, or was cancelled."""


class FunctionNotAllowed(RqSlotsError):
    """The job names a function that is not in the worker's allowlist."""


def keys_are_unusable(error: Exception) -> bool:
    """True when a call failed because of what Redis holds: a wrong type, or an unexpected reply."""
    if isinstance(error, redis.RedisError):
        # Redis 6.2 wraps the error of a script, so the code is not always at the start
        return isinstance(error, redis.InvalidResponse) or "WRONGTYPE" in str(error)
    return True
