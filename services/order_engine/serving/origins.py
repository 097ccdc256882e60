"""Origins of web pages: browsers send the origin of the page that calls, programs send none."""

from collections.abc import Collection
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_allowed_origin(origin: str, host: str, *, origins: Collection[str]) -> bool:
    """Whether a page of this origin may call: it is of the same host, or in `origins` ("*": any)."""
    return origin in origins or "*" in origins or is_same_host(origin, host)


def is_same_host(origin: str, host: str) -> bool:
    """Whether the page comes from the host that it calls; ports count."""
    try:
        page = urlsplit(origin)
        called = urlsplit(f"{page.scheme}://{host}")
        default = DEFAULT_PORTS[page.scheme]
        return page.hostname is not None and (page.hostname, page.port or default) == (
            called.hostname,
            called.port or default,
        )
    except (ValueError, KeyError):  # such as "null", the origin of a sandboxed page
        return False
