"""The answer to a plain request for a stream."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

DETAIL = (
    "this path is a WebSocket stream: connect to it with ws:// or wss://;"
    " a proxy in between must pass the Upgrade header on"
)


async def upgrade_required(_: Request) -> Response:
    """A problem of RFC 9457, as the API writes problems."""
    status = 426
    problem = {
        "type": "about:blank",
        "title": "A WebSocket is required",
        "status": status,
        "detail": DETAIL,
        "code": "upgrade_required",
        "success": False,
    }
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return JSONResponse(problem, status, headers, media_type="application/problem+json")
