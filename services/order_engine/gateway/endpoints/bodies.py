"""Reads the body of a request, bounded in size and time."""

import asyncio

from starlette.requests import Request

from order_engine.gateway.contract.problems import (
    BodyTooLarge,
    EncodedBody,
    SlowBody,
    WrongContentType,
)

BODY_TIMEOUT_S = 10.0


async def read_body(request: Request, *, bytes_max: int) -> bytes:
    """Raises WrongContentType, EncodedBody, BodyTooLarge or SlowBody."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise WrongContentType("the Content-Type must be application/json")
    if request.headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise EncodedBody("encoded bodies are not accepted: send no Content-Encoding")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    raise BodyTooLarge(f"the body must not exceed {bytes_max} bytes")
    except TimeoutError:
        raise SlowBody(f"the body must arrive within {BODY_TIMEOUT_S:g} s") from None
    return bytes(body)
