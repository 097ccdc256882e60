"""What can go wrong between a client and the engine, by who must act on it."""

from dataclasses import dataclass


class EngineError(Exception):
    """Any error that this package raises on purpose."""


# The caller must change the request.


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field; `pointer` is a JSON pointer into the body, such as `#/amountIn`."""

    pointer: str
    detail: str = ""


class RequestRefused(EngineError):
    """The engine understood the request and will not do it; the same request again is refused again.

    `status` is HTTP's, `code` the engine's stable name for the reason; None where a proxy answered.
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
    """No such order, or not one of this account."""


class StreamRefused(EngineError):
    """The engine will not open this stream; `code` is its close code, or the handshake's HTTP status."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


# Trying again later helps.


class EngineUnavailable(EngineError):
    """The engine was not reached, or could not answer; what it was asked may or may not have happened.

    `status` is None when nothing answered. `retry_after_s` is the engine's own advice, if it gave any.
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
    """Nothing was done; ask again in `retry_after_s`, None where the engine did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StreamLost(EngineError):
    """The engine stayed away for longer than the client waits; the order itself goes on.

    `stream(order_id, after=error.last_seq)` takes up where this one ended.
    """

    def __init__(self, message: str, *, last_seq: int) -> None:
        super().__init__(message)
        self.last_seq = last_seq


# Whoever set up the client must act.


class UnexpectedAnswer(EngineError):
    """Something answered that is not the engine, or another version of it: see `base_url`."""
