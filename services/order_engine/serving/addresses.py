"""What an address says of who is there."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

IPV6_SITE_BITS = 64  # one subscriber has that many addresses to choose from


def client_network(host: str) -> str:
    """An IPv4 address, or an IPv6 network of 64 bits; a host that is no address as it is."""
    try:
        parsed = ip_address(host)
    except ValueError:
        return host
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - IPV6_SITE_BITS):x}/{IPV6_SITE_BITS}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to what listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def names_this_machine(host_header: str) -> bool:
    """Whether a Host header names the machine itself, with or without a port."""
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
