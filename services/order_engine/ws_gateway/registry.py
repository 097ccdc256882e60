"""The open sockets of this process: their limits, and what ends them from outside."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping

import structlog

from order_engine.execution import metrics
from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.errors import ExecutionError
from order_engine.execution.messages.stream_contract import Close
from order_engine.ws_gateway.refusals import Refused
from order_engine.ws_gateway.slow_readers import CHECK_EVERY_S
from order_engine.ws_gateway.sockets import Socket

DRAIN_CHECK_S = 0.1

log = structlog.get_logger()


class SocketRegistry:
    """`limits` are the numbers of sockets for the `process`, a `key` and an `address`."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.is_accepting = True
        self._limits = limits
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sockets: dict[Socket, None] = {}  # a set that keeps its order: the oldest first

    async def accepts(self) -> bool:
        """Whether new clients are accepted, for the readiness check."""
        return self.is_accepting

    def take(self, limit: str, name: str = "") -> None:
        """Counts a socket towards a limit. Raises Refused when the limit is reached."""
        if self._counts[limit, name] >= self._limits[limit]:
            metrics.SOCKETS_REFUSED.labels(limit=limit).inc()
            raise Refused(Close.TOO_MANY)
        self._counts[limit, name] += 1

    def give_back(self, limit: str, name: str = "") -> None:
        self._counts[limit, name] -= 1
        if self._counts[limit, name] == 0:
            del self._counts[limit, name]

    def add(self, socket: Socket) -> None:
        """The registry may end the socket until it is removed."""
        self._sockets[socket] = None

    def remove(self, socket: Socket) -> None:
        del self._sockets[socket]

    async def close_slow_readers(self) -> None:
        """Ends the sockets of clients that do not read, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            for socket in list(self._sockets):
                bound = socket.exceeded_bound()
                if bound is not None:
                    metrics.SLOW_READERS.labels(bound=bound).inc()
                    socket.end(Close.SLOW_READER)

    async def close_revoked(self, keys: ApiKeys, *, every_s: float) -> None:
        """Ends the sockets whose key was revoked, until cancelled. One query checks all keys."""
        while True:
            await asyncio.sleep(every_s)
            used = {socket.caller.key_id for socket in self._sockets} - {None}
            if not used:
                continue
            try:
                valid = await keys.valid([key_id for key_id in used if key_id is not None])
            except ExecutionError as error:
                log.warning("keys not checked", error=str(error))
                continue
            except Exception:  # a stopped loop would leave revoked keys in use
                log.exception("keys not checked")
                continue
            for socket in list(self._sockets):
                if socket.caller.key_id in used - valid:
                    socket.end(Close.UNAUTHORIZED)

    async def drain(self, *, over_s: float) -> None:
        """Closes all sockets with RESTART, evenly over `over_s` seconds, and accepts no others.

        Returns when the last one is closed, at the latest shortly after `over_s`.
        """
        self.is_accepting = False
        loop = asyncio.get_running_loop()
        until, count = loop.time() + over_s, len(self._sockets)
        while self._sockets:
            left_s = until - loop.time()
            staying = may_stay(count, left_s=left_s, over_s=over_s)
            for socket in list(self._sockets)[: max(len(self._sockets) - staying, 0)]:
                socket.end(Close.RESTART)
            if left_s < -DRAIN_CHECK_S:
                break
            await asyncio.sleep(DRAIN_CHECK_S)


def may_stay(count: int, *, left_s: float, over_s: float) -> int:
    """How many of `count` sockets may still be open when `left_s` of `over_s` seconds are left."""
    share = min(max(left_s / over_s, 0.0), 1.0) if over_s > 0 else 0.0
    return math.floor(count * share)
