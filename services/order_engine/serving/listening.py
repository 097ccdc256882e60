"""Sockets that listen on an address, on every address of both families, or on a name."""

import errno
import socket
from contextlib import suppress

from order_engine.serving.bounds import PROBE_IDLE_CLIENTS_AFTER_S

EVERY_ADDRESS = "::"
NOT_HERE = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})  # a family or an address

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def bound_socket(host: str, port: int) -> socket.socket:
    """`::` is every address of IPv6 and IPv4, or of IPv4 alone where the kernel has no IPv6.

    Raises OSError when the port is in use or the machine does not have the address.
    """
    if host == EVERY_ADDRESS:
        try:
            return _bound(socket.AF_INET6, (EVERY_ADDRESS, port))
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
        host = "0.0.0.0"  # noqa: S104 - what was asked for
    return _bound_to_name(host, port)


def has_ipv6() -> bool:
    """Whether this machine can connect to itself over IPv6."""
    with suppress(OSError), _bound(socket.AF_INET6, ("::1", 0)):
        return True
    return False


def _bound_to_name(host: str, port: int) -> socket.socket:
    """A name such as localhost is its address of IPv4, or of IPv6 on a machine without that."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise OSError(errno.EINVAL, "not an address or a name") from None
    choices = [(family, address) for family, _, _, _, address in found]
    choices.sort(key=lambda choice: choice[0] != socket.AF_INET)
    for family, address in choices[:-1]:
        try:
            return _bound(family, address)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
    return _bound(*choices[-1])


def _bound(family: int, address: Address) -> socket.socket:
    # without IPPROTO_TCP asyncio leaves Nagle's algorithm on, which delays answers by 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited by connections
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle_s = PROBE_IDLE_CLIENTS_AFTER_S
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # both families
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
