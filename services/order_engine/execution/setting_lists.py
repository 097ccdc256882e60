"""Settings that are lists, as they are compared later: each entry is normalised, or refused.

Entries are separated by commas or white space. The errors are sentences for whoever set them.
"""

import re
from contextlib import suppress
from ipaddress import IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

ANY = "*"
LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*\.?")
NOT_OF_PAGES = frozenset({"ws", "wss", "ftp", "file", "javascript", "data", "about", "blob"})
SEPARATORS = re.compile(r"[,\s]+")
DEFAULT_PORTS = {"http": 80, "https": 443}
MAPPED = ip_network("::ffff:0:0/96")  # RFC 4291: IPv4 addresses in IPv6
THIS_MACHINE = ("127.0.0.0/8", "::1")


def proxies(text: str) -> tuple[str, ...]:
    """Addresses and networks. Raises ValueError for anything else, such as a host name."""
    found = [network for entry in _entries(text) for network in _networks(entry)]
    return (ANY,) if ANY in found else tuple(dict.fromkeys(found))


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them (RFC 6454). Raises ValueError for what no browser sends."""
    found = list(map(_origin, _entries(text)))
    return (ANY,) if ANY in found else tuple(dict.fromkeys(found))


def _entries(text: str) -> list[str]:
    return [entry for entry in SEPARATORS.split(text) if entry]


def _networks(entry: str) -> tuple[str, ...]:
    if entry == ANY:
        return (ANY,)
    if entry.lower() == "localhost":
        return THIS_MACHINE
    bare = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
    try:
        if "%" in bare:
            raise ValueError  # a zone, which no address of a client has
        network = ip_network(bare, strict=False)
    except ValueError:
        raise ValueError(
            f"{entry!r} is neither an address nor a network such as 10.0.0.0/8"
        ) from None
    if network.is_unspecified and network.prefixlen == network.max_prefixlen:
        raise ValueError(f"{entry!r} is no proxy's address: write * or 0.0.0.0/0 for any")
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):  # type: ignore[arg-type]
        network = ip_network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    is_one = network.prefixlen == network.max_prefixlen
    return (str(network.network_address if is_one else network),)


def _origin(entry: str) -> str:
    if entry in (ANY, "null"):
        return entry
    if "@" in entry:
        raise ValueError("an origin has no user and no password")
    try:
        parts = urlsplit(entry.lower())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not parts.scheme or parts.scheme in NOT_OF_PAGES or port == 0:
        raise ValueError(f"{entry!r} is not an origin such as https://app.example.com")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{entry!r} must end with the host or the port: an origin has no path")
    at = _host(host, entry)
    is_default = port is None or port == DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{at}" if is_default else f"{parts.scheme}://{at}:{port}"


def _host(host: str, entry: str) -> str:
    """The host as browsers send it."""
    if not host.isascii():
        raise ValueError(
            f"write the host of the origin {entry!r} in ASCII, as browsers do (xn--...)"
        )
    if ":" in host:
        with suppress(ValueError):
            return f"[{ip_address(host)}]"
    elif HOST_NAME.fullmatch(host):
        return host
    raise ValueError(
        f"{entry!r} is not an origin such as https://app.example.com: its host is wrong"
    )
