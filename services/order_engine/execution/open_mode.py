"""Whether only this machine can reach a server, which is then open without API keys."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

HOSTS_KEPT = 1_024


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@lru_cache(HOSTS_KEPT)
def names_this_machine(host_header: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
