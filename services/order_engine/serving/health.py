"""The answer to the health checks of load balancers."""

from starlette.responses import JSONResponse, Response


def health_response(timestamp: str) -> Response:
    """This process takes requests; `timestamp` is the current time, as the API writes times."""
    return JSONResponse({"status": "ok", "timestamp": timestamp})
