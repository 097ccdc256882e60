"""What can go wrong, by who must act on it."""

from typing import ClassVar


class ExecutionError(Exception):
    """Any error that this package raises on purpose."""


# The client must change the request.


class OrderNotFound(ExecutionError):
    """No such order, or not one of this account."""


# Trying again later helps.


class StoreUnavailable(ExecutionError):
    """PostgreSQL did not answer in time; nothing may be taken as written or as not written."""


class Overloaded(ExecutionError):
    """A bounded buffer is full; the call was not taken."""


class VenueUnavailable(ExecutionError):
    """A venue failed or did not answer; what it was asked to do may or may not have happened."""


# The order ends: `code` is stable and goes to the client as `errorCode`.


class OrderFailed(ExecutionError):
    code: ClassVar[str]


class NoLiveQuote(OrderFailed):
    code = "no_live_quote"


class MinAmountOutUnreachable(OrderFailed):
    code = "min_amount_out_unreachable"


class SlippageExceeded(OrderFailed):
    code = "slippage_exceeded"


class VenueRejected(OrderFailed):
    code = "venue_rejected"


class AttemptsExhausted(OrderFailed):
    code = "venue_unavailable"


class StuckWithoutMove(OrderFailed):
    """Claimed again and again without one move: something kills its workers."""

    code = "internal_error"


# The programmer must act.


class IllegalTransition(ExecutionError):
    """A move that TRANSITIONS does not allow."""
