"""CORS: which pages of other origins may call the API and read its answers."""

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from order_engine.gateway.contract.problems import PROBLEMS, ForeignPage, problem


class Cors(CORSMiddleware):
    """Starlette's, but preflights count against the rate limit and are refused with a problem."""

    def __init__(
        self, app: ASGIApp, *, limited: Callable[[ASGIApp], ASGIApp], origins: Sequence[str]
    ) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After"],
        )
        self._limited = limited

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code != 200:
            refused = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
            answer = problem(PROBLEMS[ForeignPage], detail=f"CORS does not allow this {refused}")
        return self._limited(answer)  # type: ignore[return-value]  # only called
