"""Rate limits: requests a minute for each address and each API key.

Each process counts alone, so that no request waits for a shared counter.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from order_engine.execution import metrics
from order_engine.gateway.contract.problems import TooManyRequests, answer_execution_error
from order_engine.serving.addresses import client_network

WINDOW_S = 60

Limit = Literal["address", "key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What is left of a limit: `remaining` requests for the next `reset_s` seconds."""

    who: Limit
    limit: int
    remaining: int
    reset_s: int


class RequestLimits:
    """Requests a minute for each address and each key; 0 means no limit."""

    def __init__(self, *, per_address: int, per_key: int) -> None:
        self._window = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits: Mapping[Limit, int] = {"address": per_address, "key": per_key}

    def take(self, who: Limit, name: str, quotas: list[Quota]) -> None:
        """Counts one request and appends what is left to `quotas`; raises TooManyRequests."""
        limit = self._limits[who]
        if limit == 0:
            return
        item = RateLimitItemPerMinute(limit)
        is_allowed = self._window.hit(item, who, name)
        reset_at, remaining = self._window.get_window_stats(item, who, name)
        quota = Quota(
            who=who,
            limit=limit,
            remaining=max(remaining, 0),
            reset_s=max(math.ceil(reset_at - time.time()), 1),
        )
        quotas.append(quota)
        if not is_allowed:
            metrics.REQUESTS_LIMITED.labels(who=who).inc()
            raise TooManyRequests(
                f"too many requests (at most {limit} a minute for each {who})",
                retry_after_s=quota.reset_s,
            )


class Limited:
    """Counts each request by its address, before any other work.

    Responses report what is left of both limits in the RateLimit fields of
    draft-ietf-httpapi-ratelimit-headers.
    """

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        quotas: list[Quota] = []
        scope["quotas"] = quotas

        async def send_with_quotas(message: Message) -> None:
            if message["type"] == "http.response.start" and quotas:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = ", ".join(
                    f'"{quota.who}";q={quota.limit};w={WINDOW_S}' for quota in quotas
                )
                headers["RateLimit"] = ", ".join(
                    f'"{quota.who}";r={quota.remaining};t={quota.reset_s}' for quota in quotas
                )
            await send(message)

        try:
            self._limits.take("address", _address(scope), quotas)
        except TooManyRequests as error:
            response = await answer_execution_error(Request(scope), error)
            await response(scope, receive, send_with_quotas)
            return
        await self._app(scope, receive, send_with_quotas)


def _address(scope: Scope) -> str:
    return client_network(scope["client"][0]) if scope.get("client") else ""
