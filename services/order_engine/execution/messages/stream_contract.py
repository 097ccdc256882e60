"""The contract of the streams: close codes, error codes and bounds.

The ws-gateway keeps it, `/asyncapi.json` describes it, and the client follows it.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

MESSAGE_BYTES_MAX = 16_384  # of a message that a client sends
MESSAGE_WITHIN_S = 10.0  # from its first fragment to its last
AFTER_MAX = 999_999_999  # the highest `after` that a client may send
ORDER_ID_CHARS_MAX = 64  # of an `orderId` that an error returns as the client sent it


class Close(IntEnum):
    """Why a socket is closed. A refused client is accepted first and then closed, because a browser
    does not see the status of a refused handshake.
    """

    END = 1000
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    SLOW_MESSAGE = 1008
    MESSAGE_TOO_BIG = 1009
    FAILED = 1011
    RESTART = 1012
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    SLOW_READER = 4408
    TOO_MANY = 4429


CLOSE_MEANINGS: Mapping[Close, str] = MappingProxyType(
    {
        Close.END: "The final status has been sent: do not reconnect.",
        Close.PROTOCOL_ERROR: "The client broke the WebSocket protocol: fix the client.",
        Close.INVALID_TEXT: "The client sent a text that is not UTF-8: fix the client.",
        Close.SLOW_MESSAGE: f"A message took more than {MESSAGE_WITHIN_S:g} seconds from its first"
        " fragment to its last: fix the client.",
        Close.MESSAGE_TOO_BIG: f"The client sent a message above {MESSAGE_BYTES_MAX // 1024} KiB:"
        " fix the client.",
        Close.FAILED: "The engine failed, or its ping was not answered in time: reconnect with the"
        " last seq.",
        Close.RESTART: "The engine restarts, or could not read the order now: reconnect with the"
        " last seq.",
        Close.BAD_REQUEST: "`after` is malformed: fix the client.",
        Close.UNAUTHORIZED: "The API key is missing, wrong or revoked: get another one first.",
        Close.FORBIDDEN: "The key lacks the scope `read`, or the page has an origin that is not"
        " allowed.",
        Close.NOT_FOUND: "The account has no order with this id.",
        Close.SLOW_READER: "The client did not read; nothing is lost: reconnect with the last seq.",
        Close.TOO_MANY: "Too many connections of this key or address, or in total: reconnect later.",
    }
)

# The same request would be refused again.
REFUSALS = frozenset(
    {
        Close.PROTOCOL_ERROR,
        Close.INVALID_TEXT,
        Close.SLOW_MESSAGE,
        Close.MESSAGE_TOO_BIG,
        Close.BAD_REQUEST,
        Close.UNAUTHORIZED,
        Close.FORBIDDEN,
    }
)
# The multiplexed stream sends `end` and `error` messages instead.
SINGLE_ORDER_ONLY = frozenset({Close.END, Close.BAD_REQUEST, Close.NOT_FOUND})


class StreamErrorCode(StrEnum):
    """The `code` of an error message on the multiplexed stream."""

    BAD_REQUEST = "bad_request"
    ORDER_NOT_FOUND = "order_not_found"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    STORE_UNAVAILABLE = "store_unavailable"


ERROR_MEANINGS: Mapping[StreamErrorCode, str] = MappingProxyType(
    {
        StreamErrorCode.BAD_REQUEST: "not JSON, or not one of the messages described here",
        StreamErrorCode.ORDER_NOT_FOUND: "the account has no order with this id",
        StreamErrorCode.TOO_MANY_SUBSCRIPTIONS: "this connection follows as many orders as it may",
        StreamErrorCode.STORE_UNAVAILABLE: "the order could not be read now: subscribe again",
    }
)
