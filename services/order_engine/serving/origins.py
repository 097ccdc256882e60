"""Which pages may call: browsers name the origin of the page that asks, programs name none."""

from collections.abc import Collection
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_allowed_origin(origin: str, host: str, *, origins: Collection[str]) -> bool:
    """Whether a page of this origin may call: one of the same host, or an allowed one."""
    return origin in origins or "*" in origins or is_same_host(origin, host)


def is_same_host(origin: str, host: str) -> bool:
    """Whether a page of this origin is served by the host that it calls, port included."""
    try:
        page = urlsplit(origin)
        called = urlsplit(f"{page.scheme}://{host}")
        default = DEFAULT_PORTS[page.scheme]
        return page.hostname is not None and (page.hostname, page.port or default) == (
            called.hostname,
            called.port or default,
        )
    except (ValueError, KeyError):  # among them "null", the origin of a sandboxed page
        return False
