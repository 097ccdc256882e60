"""The open sockets of this process: how many there may be, and what ends them from outside."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from order_engine.execution import metrics
from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.messages.streams import Close
from order_engine.ws_gateway.close_codes import Refused
from order_engine.ws_gateway.slow_readers import LOOK_EVERY_S
from order_engine.ws_gateway.sockets import Socket

DRAIN_LOOK_S = 0.1

log = structlog.get_logger()


class Register:
    """`places` are the most sockets of one `process`, one `key`, and one `address`."""

    def __init__(self, places: Mapping[str, int]) -> None:
        self.is_accepting = True
        self._places = places
        self._taken: Counter[tuple[str, str]] = Counter()
        self._sockets: dict[Socket, None] = {}  # a set that keeps its order: the oldest first

    async def accepts(self) -> bool:
        """Whether a new client is welcome here."""
        return self.is_accepting

    @contextmanager
    def place(self, whose: str, name: str = "") -> Iterator[None]:
        """Holds a place; raises Refused where all are taken."""
        if self._taken[whose, name] >= self._places[whose]:
            metrics.SOCKETS_REFUSED.labels(limit=whose).inc()
            raise Refused(Close.TOO_MANY)
        self._taken[whose, name] += 1
        try:
            yield
        finally:
            self._taken[whose, name] -= 1
            if self._taken[whose, name] == 0:
                del self._taken[whose, name]

    @contextmanager
    def entered(self, socket: Socket) -> Iterator[None]:
        """The socket can be ended from outside while the context is open."""
        self._sockets[socket] = None
        try:
            yield
        finally:
            del self._sockets[socket]

    async def watch_readers(self) -> None:
        """Ends, for ever, the sockets of clients that do not read."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for socket in list(self._sockets):
                bound = socket.look()
                if bound is not None:
                    metrics.SLOW_READERS.labels(bound=bound).inc()
                    socket.end(Close.SLOW_READER)

    async def check_keys(self, keys: ApiKeys, *, every_s: float) -> None:
        """Ends, for ever, the sockets whose key has been revoked: one query for all of them."""
        while True:
            await asyncio.sleep(every_s)
            shown = {socket.caller.key_id for socket in self._sockets} - {None}
            if not shown:
                continue
            try:
                valid = await keys.valid([key_id for key_id in shown if key_id is not None])
            except ExecutionError as error:
                log.warning("keys not checked", error=str(error))
                continue
            except Exception:  # without this loop, a revoked key would go on
                log.exception("keys not checked")
                continue
            for socket in list(self._sockets):
                if socket.caller.key_id in shown - valid:
                    socket.end(Close.UNAUTHORIZED)

    async def drain(self, *, over_s: float) -> None:
        """Sends all clients away to come again, evenly spread, and lets no other in.

        Returns when the last has left, and at the latest a little after `over_s`.
        """
        self.is_accepting = False
        loop = asyncio.get_running_loop()
        until, count = loop.time() + over_s, len(self._sockets)
        while self._sockets:
            left_s = until - loop.time()
            staying = may_stay(count, left_s=left_s, over_s=over_s)
            for socket in list(self._sockets)[: max(len(self._sockets) - staying, 0)]:
                socket.end(Close.RESTART)
            if left_s < -DRAIN_LOOK_S:
                break
            await asyncio.sleep(DRAIN_LOOK_S)


def may_stay(count: int, *, left_s: float, over_s: float) -> int:
    """How many of `count` sockets are still to be open when `left_s` of `over_s` are left."""
    share = min(max(left_s / over_s, 0.0), 1.0) if over_s > 0 else 0.0
    return math.floor(count * share)
