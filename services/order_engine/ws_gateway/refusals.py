"""Why a client gets no stream."""

from order_engine.execution.messages.stream_contract import Close

# The codes that clients and the protocol close with; the metric counts others as "other".
CLIENT_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012})


class Refused(Exception):
    """The client gets no stream; its socket is closed with `code`."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code
