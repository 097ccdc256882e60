"""Heads of requests: what RFC 9110 and 9112 require beyond what the parser checks."""

import re
from collections.abc import Iterable
from http import HTTPStatus

Headers = Iterable[tuple[bytes, bytes]]  # names are lower case

HOST = re.compile(
    rb"(\[[\w.:%~!$&'()*+,;=-]+\]|([\w.~!$&'()*+,;=-]|%[0-9a-f]{2})*)(:[0-9]*)?", re.IGNORECASE
)


class Refused(Exception):
    """The head is answered with `status`, and the connection ends.

    Raised by parser callbacks, too: the parser wraps it then. `bound` is the bound that was exceeded.
    """

    def __init__(self, status: HTTPStatus, detail: str = "", *, bound: str = "") -> None:
        super().__init__(detail or status.phrase)
        self.status = status
        self.bound = bound


HEAD_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The elements of a list that may take several lines, in lower case."""
    lines = b",".join(value for key, value in headers if key == name)
    return [token for part in lines.lower().split(b",") if (token := part.strip())]


def offers_websocket(headers: Headers) -> bool:
    return b"upgrade" in tokens(headers, b"connection") and b"websocket" in tokens(
        headers, b"upgrade"
    )


def check_head(headers: Headers, *, version: str) -> None:
    """Raises Refused. `version` is that of HTTP, such as "1.1"."""
    if version not in ("1.0", "1.1"):
        raise Refused(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken"
        )
    hosts, codings = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append((name, value))
    _check_host(hosts, is_needed=version == "1.1")
    if codings:
        _check_codings(tokens(codings, b"transfer-encoding"), version=version)


def _check_host(hosts: list[bytes], *, is_needed: bool) -> None:
    if len(hosts) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "more than one Host header: send exactly one")
    if is_needed and not hosts:
        raise Refused(HTTPStatus.BAD_REQUEST, "no Host header: HTTP/1.1 requires one")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "the Host header is not a host, or a host and a port")


def _check_codings(codings: list[bytes], *, version: str) -> None:
    if version == "1.0":
        raise Refused(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding")
    if codings[-1:] != [b"chunked"] or codings.count(b"chunked") > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "Transfer-Encoding must end with chunked, once")
    if len(codings) > 1:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "Transfer-Encoding must be chunked alone")
