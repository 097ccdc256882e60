"""Why a socket is closed by this side, and the refusal that says so."""

from enum import IntEnum

# What clients and the protocol itself close with; any other code is a client's own idea.
CLIENT_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012})


class Close(IntEnum):
    """A socket is accepted first and closed then: a browser sees no code of a refused handshake."""

    END = 1000  # the final status has been sent
    RESTART = 1012  # come again, with the last seq
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401  # no key, a wrong or a revoked one
    FORBIDDEN = 4403  # a key without the scope, or a page of a foreign origin
    NOT_FOUND = 4404
    SLOW_READER = 4408  # nothing is lost: come again, with the last seq
    TOO_MANY = 4429


class Refused(Exception):
    """The client gets no stream, and is told this code."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code
