"""Addresses of clients and proxies, written in one way; the network that a client is counted by."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network

HOSTS_KEPT = 4_096
IPV6_SITE_BITS = 64  # the network of one subscriber
MAPPED = IPv6Address("::ffff:0:0")  # the first address of IPv4, as IPv6 writes them
MAPPED_BITS = 96


@lru_cache(HOSTS_KEPT)
def plain_address(host: str) -> str:
    """An address of IPv4 that is written as one of IPv6 as IPv4, any other without its zone.

    A socket for both families reports `::ffff:127.0.0.1`. Other hosts are unchanged.
    """
    try:
        parsed = ip_address(host)
    except ValueError:
        return host
    if not isinstance(parsed, IPv6Address):
        return host
    return str(parsed.ipv4_mapped or parsed).partition("%")[0]


def in_both_forms(networks: Iterable[str]) -> Iterator[str]:
    """The same networks and addresses, those of IPv4 also as IPv6 writes them.

    A proxy may write either form to X-Forwarded-For. The settings have written them as IPv4.
    """
    for text in networks:
        yield text
        try:
            network = ip_network(text)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            mapped = IPv6Address(int(MAPPED) + int(network.network_address))
            yield f"{mapped}/{MAPPED_BITS + network.prefixlen}"


@lru_cache(HOSTS_KEPT)
def client_network(host: str) -> str:
    """The network to count a client by: an IPv4 address, or an IPv6 /64; other hosts unchanged."""
    plain = plain_address(host)
    try:
        parsed = ip_address(plain)
    except ValueError:
        return plain
    if not isinstance(parsed, IPv6Address):
        return plain
    return f"{int(parsed) >> (128 - IPV6_SITE_BITS):x}/{IPV6_SITE_BITS}"
