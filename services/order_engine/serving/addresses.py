"""The network that a client is counted by."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

HOSTS_KEPT = 4_096
IPV6_SITE_BITS = 64  # the network of one subscriber


@lru_cache(HOSTS_KEPT)
def client_network(host: str) -> str:
    """The network to count a client by: an IPv4 address, or an IPv6 /64; other hosts unchanged."""
    try:
        parsed = ip_address(host)
    except ValueError:
        return host
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - IPV6_SITE_BITS):x}/{IPV6_SITE_BITS}"
