"""What a client is told before the application is asked: in the form of its own refusals."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

TOO_LARGE, BAD, TOO_MANY = 431, 400, 503


class Refusal(NamedTuple):
    code: str
    title: str
    headers: bytes = b""


REFUSALS: Mapping[int, Refusal] = {
    TOO_LARGE: Refusal("head_too_large", "The head of the request is too large"),
    BAD: Refusal("invalid_request", "This is no HTTP request"),
    TOO_MANY: Refusal("too_many_connections", "Too many connections", b"retry-after: 1\r\n"),
}
HEAD = (
    b"content-type: application/problem+json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n"
)


def refusal(status: int) -> bytes:
    """The whole answer; it is the last of its connection."""
    code, title, headers = REFUSALS[status]
    body = json.dumps(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": title,
            "code": code,
            "success": False,
        },
        separators=(",", ":"),
    ).encode()
    return STATUS_LINE[status] + HEAD % (len(body), headers) + body
