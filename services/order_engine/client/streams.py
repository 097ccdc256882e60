"""One order's statuses, each once and in order, over any number of connections.

The engine numbers the statuses of an order from 1 and keeps them. A subscription remembers the last
number that it delivered, and requests the later ones whenever it connects.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxyStatus,
    InvalidStatus,
    WebSocketException,
)

from order_engine.client.errors import (
    EngineError,
    InvalidArgument,
    OrderNotFound,
    StreamLost,
    StreamRefused,
)
from order_engine.client.frames import MESSAGE, Aside, StatusFrame
from order_engine.client.outage import Outage
from order_engine.client.proxies import Proxy, way_through
from order_engine.client.wire import parsed
from order_engine.execution.messages.stream_contract import REFUSALS, Close

CLOSE_TIMEOUT_S = 1.0  # every frame has arrived by then, so an abrupt end loses nothing

TOO_MANY_REQUESTS = 429  # a status below 500 after which a retry may succeed
TOO_MANY_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    connect_timeout_s: float
    silence_max_s: float
    reconnect_within_s: float
    reconnect_max_s: float
    proxy: Proxy | None = None


class ConnectionLost(EngineError):
    """A connection ended before the order did; callers see it only as the cause of StreamLost.

    The next connection must wait for at least `pause_min_s`.
    """

    def __init__(self, message: str, *, pause_min_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_min_s = pause_min_s


class Subscription:
    def __init__(
        self, url: str, *, after: int, limits: StreamLimits, headers: Mapping[str, str]
    ) -> None:
        self._url = url
        self._headers = headers
        self._after = after
        self._last = after
        self._ended = False
        self._limits = limits
        self._outage = Outage(
            within_s=limits.reconnect_within_s, pause_max_s=limits.reconnect_max_s
        )

    async def frames(self) -> AsyncGenerator[StatusFrame, None]:
        """Every status after `after`, to the final one. See EngineClient.stream for the errors."""
        while not self._ended:
            try:
                async with aclosing(self._connection()) as frames:
                    async for frame in frames:
                        yield frame
            except ConnectionLost as loss:
                await self._pause(loss)

    async def _connection(self) -> AsyncGenerator[StatusFrame, None]:
        """The frames of one connection. Raises ConnectionLost when another may deliver the rest."""
        proxy = self._limits.proxy
        try:
            async with connect(
                f"{self._url}?after={self._last}",
                additional_headers=self._headers,
                open_timeout=self._limits.connect_timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,  # the engine's own pings also show that its event loop runs
                compression=None,  # frames are too small to benefit
                proxy=proxy.url if proxy else None,
            ) as socket:
                while not self._ended:
                    yield await self._next_frame(socket)
        except ConnectionClosed as closed:
            self._ended = self._is_end(closed)
            if not self._ended:
                raise error_of_close(closed) from closed
        except UnicodeError as error:  # of a host with a label that no name has
            raise InvalidArgument(f"{self._url} has no valid host name") from error
        except (OSError, WebSocketException) as error:
            raise error_of_handshake(error) from error

    async def _next_frame(self, socket: ClientConnection) -> StatusFrame:
        while True:
            async with asyncio.timeout(self._limits.silence_max_s):
                message = parsed(MESSAGE, await socket.recv())
            if isinstance(message, Aside):
                self._outage.end()
            elif message.seq > self._last + 1:
                raise ConnectionLost(f"frame {message.seq} came after {self._last}")
            elif message.seq == self._last + 1:
                self._outage.end()
                self._last = message.seq
                self._ended = message.is_final
                return message
            # else a repeat, delivered before

    def _is_end(self, closed: ConnectionClosed) -> bool:
        """Whether the caller already had the final status, so that nothing was left to send."""
        return (
            closed.rcvd is not None
            and closed.rcvd.code == Close.END
            and self._last == self._after > 0
        )

    async def _pause(self, loss: ConnectionLost) -> None:
        pause_s = self._outage.next_pause_s(now=asyncio.get_running_loop().time())
        if pause_s is None:
            raise StreamLost(
                f"gave up {self._url}{way_through(self._limits.proxy)} after {self._limits.reconnect_within_s:g} s: {loss}",
                last_seq=self._last,
            ) from loss
        await asyncio.sleep(max(pause_s, loss.pause_min_s))


def error_of_close(closed: ConnectionClosed) -> EngineError:
    if (
        closed.rcvd is None or closed.rcvd_then_sent is False
    ):  # or we closed first, and the engine repeated our code
        return ConnectionLost(str(closed))
    code, reason = closed.rcvd.code, closed.rcvd.reason
    if code == Close.NOT_FOUND:
        return OrderNotFound(reason or "no such order")
    if code in REFUSALS:
        return StreamRefused(reason or f"closed with {code}", code=code)
    return ConnectionLost(
        str(closed), pause_min_s=TOO_MANY_PAUSE_S if code == Close.TOO_MANY else 0.0
    )


def error_of_handshake(error: OSError | WebSocketException) -> EngineError:
    if isinstance(error, InvalidStatus | InvalidProxyStatus):
        status = error.response.status_code
        if status == TOO_MANY_REQUESTS:
            return ConnectionLost(str(error), pause_min_s=TOO_MANY_PAUSE_S)
        if status < 500:
            return StreamRefused(str(error), code=status)
    return ConnectionLost(str(error) or type(error).__name__)
