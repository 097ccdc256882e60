"""Connections counted by address, so that one address cannot hold all of them."""

from collections import Counter
from collections.abc import Sequence

from uvicorn.middleware.proxy_headers import _TrustedHosts

from order_engine.serving.addresses import client_network


class Peers:
    """Open connections by address, at most `each_max` of one.

    Trusted proxies are not counted: they forward the connections of many clients.
    """

    def __init__(self, *, each_max: int, trusted_proxies: Sequence[str]) -> None:
        self._each_max = each_max
        self._proxies = _TrustedHosts("*" if "*" in trusted_proxies else list(trusted_proxies))
        self._open: Counter[str] = Counter()

    def enter(self, host: str) -> str:
        """Counts a connection; returns what to pass to `leave`, empty when it does not count."""
        if not host or host in self._proxies:
            return ""
        address = client_network(host)
        self._open[address] += 1
        return address

    def has_too_many(self, address: str) -> bool:
        return self._open[address] > self._each_max

    def leave(self, address: str) -> None:
        if self._open[address] > 1:
            self._open[address] -= 1
        else:
            del self._open[address]
