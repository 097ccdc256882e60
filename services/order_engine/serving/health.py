"""The answers to the health checks of load balancers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response


def health_response(timestamp: str) -> Response:
    """This process takes requests; `timestamp` is the current time, as the API writes times."""
    return JSONResponse({"status": "ok", "timestamp": timestamp})


async def front(_: Request) -> Response:
    """The answer to `/`, which some load balancers check unless another path is set."""
    return PlainTextResponse("order execution engine: see /openapi.json and /asyncapi.json\n")
