"""Which proxy of the environment leads to the engine: the same for its requests and its streams.

HTTPS_PROXY is for https:// and wss://, HTTP_PROXY for http:// and ws://, ALL_PROXY for both, in
either case of letters. NO_PROXY lists servers that are reached directly: names (with all below
them), addresses and networks, each with or without a port, or `*`. This machine always is.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

from order_engine.client.errors import ProxyUnusable

DEFAULT_PORTS = {"http": 80, "https": 443}
THIS_MACHINE = re.compile(
    r"(.+\.)?localhost|localhost\.localdomain|ip6-localhost|ip6-loopback", re.IGNORECASE
)
HOST_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """`url` may have a password; `name` has none and is for messages."""

    url: str
    name: str


def way_through(proxy: Proxy | None) -> str:
    """For messages: " through the proxy ...", or nothing."""
    return f" through the proxy {proxy.name}" if proxy else ""


def proxy_for(
    *, scheme: str, host: str, port: int | None, proxies: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy to use; None to connect directly. Raises ProxyUnusable.

    `proxies` is by scheme, and by `no` for NO_PROXY, as `getproxies` returns it.
    """
    if proxies is None:
        proxies = getproxies()
    variable = scheme if proxies.get(scheme) else "all"
    given = proxies.get(variable, "").strip()
    address = _address(host)
    port = port or DEFAULT_PORTS[scheme]
    if not given or _is_this_machine(host, address):
        return None
    if any(
        _matches(entry, host=host, address=address, port=port)
        for entry in re.split(r"[\s,]+", proxies.get("no", ""))
    ):
        return None
    return _proxy(given, variable=f"{variable.upper()}_PROXY", host=host)


def _is_this_machine(host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return THIS_MACHINE.fullmatch(host.rstrip(".")) is not None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))  # such as 127.1
        except (OSError, UnicodeError):
            return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _matches(
    entry: str, *, host: str, address: IPv4Address | IPv6Address | None, port: int
) -> bool:
    """Whether this entry of NO_PROXY names the server."""
    entry = entry.rpartition("://")[2]
    if entry == "*":
        return True
    if with_port := re.fullmatch(r"(\[.*\]|[^:]*):([0-9]+)", entry):
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    entry = entry.replace("[", "").replace("]", "")
    if address is not None:
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            return False
        return address in network
    name = entry.removeprefix("*").strip(".").lower()
    return bool(name) and f".{host.rstrip('.').lower()}".endswith(f".{name}")


def _proxy(given: str, *, variable: str, host: str) -> Proxy:
    advice = f"change or unset {variable}, or list {host} in NO_PROXY"
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        name, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise ProxyUnusable(f"the proxy in {variable} is not a URL: {advice}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ProxyUnusable(
            f"the proxy in {variable} is {parts.scheme}://, but only http:// and https:// proxies"
            f" are supported: {advice}"
        )
    if _address(name) is None and not HOST_NAME.fullmatch(name):
        raise ProxyUnusable(f"the proxy in {variable} has no valid host name: {advice}")
    server = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    user = ""
    if parts.username is not None:
        quoted = (quote(unquote(part or ""), safe="") for part in (parts.username, parts.password))
        user = f"{':'.join(quoted)}@"
    return Proxy(url=f"{parts.scheme}://{user}{server}", name=f"{parts.scheme}://{server}")
