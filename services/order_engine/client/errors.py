"""The errors of the client, grouped by who must act."""

from dataclasses import dataclass


class EngineError(Exception):
    """Any error that this package raises on purpose."""


# The caller must change the request.


class InvalidArgument(EngineError, ValueError):
    """An argument cannot be used or sent; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field; `pointer` is a JSON pointer into the body, such as `#/amountIn`."""

    pointer: str
    detail: str = ""


class RequestRefused(EngineError):
    """The engine refused the request, and would refuse it again.

    `status` is the HTTP status, `code` the engine's stable code; None when a proxy answered.
    """

    def __init__(
        self, message: str, *, status: int, code: str | None, errors: tuple[FieldError, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.errors = errors

    def __str__(self) -> str:
        fields = "".join(f"; {error.pointer}: {error.detail}" for error in self.errors)
        return f"{self.status} {self.code or 'refused'}: {self.message}{fields}"


class OrderNotFound(EngineError):
    """The account has no order with this id."""


class StreamRefused(EngineError):
    """The engine refused the stream; `code` is the close code, or the HTTP status of the handshake."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


# The caller may retry later.


class EngineUnavailable(EngineError):
    """The engine was not reached or could not answer; the request may or may not have taken effect.

    `status` is None when nothing answered. `retry_after_s` is the engine's Retry-After, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class TooManyRequests(EngineError):
    """Nothing was done; retry in `retry_after_s` seconds (None: the engine gave no time)."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StreamLost(EngineError):
    """The engine was away for longer than the client waits; the order is still executed.

    `stream(order_id, after=error.last_seq)` continues where this stream ended.
    """

    def __init__(self, message: str, *, last_seq: int) -> None:
        super().__init__(message)
        self.last_seq = last_seq


# The configuration of the client is wrong.


class ProxyUnusable(EngineError):
    """The proxy that the environment sets for the engine cannot be used."""


class UnexpectedAnswer(EngineError):
    """Another server than an engine that this client supports answered: check `base_url`."""
