"""Checks the URLs of PostgreSQL and Redis before a driver reads them."""

import re
from urllib.parse import unquote, urlsplit

HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(:(?P<port>[0-9]{0,5}))?")
BLANK = re.compile(r"[\s\x00-\x1f\x7f\ufeff]")
CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
NUMBER = re.compile(r"/?[0-9]*")  # of a database in Redis
ENCODED = re.compile(r"([^@%\s]|%[0-9a-fA-F]{2})*")


def checked_url(url: str, *, schemes: tuple[str, ...]) -> str:
    """The URL when it is valid. The error for a wrong one never contains its password."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        is_address = (
            not BLANK.search(url)  # urlsplit would leave it out, and a driver would not
            and parts.scheme in schemes
            and all(map(_is_host, hosts.split(",")))  # several hosts: libpq finds the primary
            # else a driver takes a part of the password for a host name, and reports it
            and ENCODED.fullmatch(credentials) is not None
            and "@" not in parts.path
            and _is_text(url)
            and (schemes[0] != "redis" or parts.scheme == "unix" or NUMBER.fullmatch(parts.path))
        )
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            f"must be a URL that begins with {schemes[0]}://, with the password percent-encoded and no blank in it"
        )
    return url


def _is_text(url: str) -> bool:
    """Whether the URL has an encoding, and what is percent-encoded in it as well."""
    text = unquote(url, errors="strict")
    return text.encode() != b"" and not CONTROLS.search(text)


def _is_host(host: str) -> bool:
    found = HOST.fullmatch(host)
    return found is not None and int(found["port"] or 0) <= 65535
