"""Errors of the worker's own."""


class RqSlotsError(Exception):
    """Any error that the worker raises on purpose."""


class JobRefused(RqSlotsError):
    """A job that was not run, or was stopped before its end."""


class FunctionNotAllowed(RqSlotsError):
    """The job names a function that is not in the worker's allowlist."""
