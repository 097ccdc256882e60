"""Clients that do not read what they are sent."""

import asyncio

from order_engine.serving import bounds, metrics


class UnreadTimer:
    """Aborts a transport when its client has read nothing for UNREAD_WITHIN_S.

    A transport that is closed stays open while something is unsent, so it is started then, too.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Does nothing when everything is sent, or when the timer runs already."""
        unsent = self._transport.get_write_buffer_size()
        if unsent and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(bounds.UNREAD_WITHIN_S, self._check, unsent)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, unsent_before: int) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() == unsent_before:
            metrics.CONNECTIONS_ENDED.labels(bound="unread").inc()
            self._transport.abort()
        else:
            self.start()
