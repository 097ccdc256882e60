"""The errors of the engine, grouped by who must act on them."""

from typing import ClassVar


class ExecutionError(Exception):
    """Any error that this package raises on purpose."""


# The client must change the request.


class OrderNotFound(ExecutionError):
    """This account has no such order."""


# The caller may try again later.


class StoreUnavailable(ExecutionError):
    """PostgreSQL did not answer in time; a write may or may not have been committed."""


class Overloaded(ExecutionError):
    """A bounded buffer is full; the call was not accepted."""


class VenueUnavailable(ExecutionError):
    """A venue failed or did not answer; the call may or may not have taken effect."""


# The operator must act.


class Unreadable(ExecutionError):
    """PostgreSQL holds a row that this version cannot read."""


# The order ends. `code` is stable and sent to clients as `errorCode`; str() is the `errorReason`.


class OrderFailed(ExecutionError):
    code: ClassVar[str]


class NoLiveQuote(OrderFailed):
    code = "no_live_quote"


class MinAmountOutUnreachable(OrderFailed):
    code = "min_amount_out_unreachable"


class AmountTooSmall(OrderFailed):
    """The swap might pay nothing at all, because amounts have 18 decimals."""

    code = "amount_too_small"


class SlippageExceeded(OrderFailed):
    code = "slippage_exceeded"


class VenueRejected(OrderFailed):
    code = "venue_rejected"


class AttemptsExhausted(OrderFailed):
    code = "venue_unavailable"


class StuckWithoutMove(OrderFailed):
    """The order was claimed many times without a move; it probably crashes its workers."""

    code = "internal_error"


# The programmer must act.


class IllegalTransition(ExecutionError):
    """A move that TRANSITIONS does not allow."""
