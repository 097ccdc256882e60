"""What a door answers to load balancers, which ask each process for itself."""

from datetime import datetime

from starlette.responses import JSONResponse, Response

from execution.adapters.frames import timestamp


def healthy(now: datetime) -> Response:
    """The seed's body: this process takes requests."""
    return JSONResponse({"status": "ok", "timestamp": timestamp(now)})
