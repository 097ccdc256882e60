"""What pages of other origins may ask and read: CORS as Starlette has it, in this engine's words."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from order_engine.gateway.contract.problems import ANSWERS, ForeignPage, problem
from order_engine.gateway.middleware.rate_limits import Limited, RequestLimits


class Cors(CORSMiddleware):
    """Answers preflights itself: they count as requests, and are refused with a problem."""

    def __init__(self, app: ASGIApp, *, limits: RequestLimits, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After"],
        )
        self._limits = limits

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code != 200:
            refused = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
            detail = f"this engine does not allow the page's {refused}"
            answer = problem(ANSWERS[ForeignPage], detail=detail)
        return Limited(answer, self._limits)  # type: ignore[return-value]  # is only called
