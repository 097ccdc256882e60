"""Whether only this machine can reach a server, which is then open without API keys."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

HOSTS_KEPT = 1_024


def plain_host(host: str) -> str:
    """A host to listen on as sockets take it: `*` is `::`, and an address has no brackets."""
    host = host.strip().lower()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return "::" if host == "*" else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on `host`."""
    plain = plain_host(host)
    if plain.removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(plain)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback  # as IPv6 writes it; Python before 3.13 says no
    return address.is_loopback


@lru_cache(HOSTS_KEPT)
def names_this_machine(host_header: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
