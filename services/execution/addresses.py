"""Whose limit a client counts against."""

from ipaddress import IPv6Address, ip_address

IPV6_SITE_BITS = 64  # one subscriber has that many addresses to choose from


def counted_address(host: str) -> str:
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
