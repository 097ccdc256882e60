import math
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx2

from order_engine.client.answers import (
    ACKNOWLEDGEMENT,
    CANCELLATION,
    HEALTH,
    ORDER,
    ORDERS,
    Acknowledgement,
    Cancellation,
    Health,
    OrderView,
)
from order_engine.client.errors import EngineUnavailable, InvalidArgument
from order_engine.client.frames import StatusFrame
from order_engine.client.problems import refusal
from order_engine.client.proxies import Proxy, proxy_for, way_through
from order_engine.client.streams import StreamLimits, Subscription
from order_engine.client.wire import parsed
from order_engine.execution.domain.status import OrderStatus

PORT_MAX = 65_535
WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class EngineClient:
    """Places orders and follows them until their final status.

        async with EngineClient() as engine:
            order = await engine.place_order(
                token_in="SOL", token_out="USDC", amount_in="100", slippage_tolerance=0.5
            )
            async for frame in engine.stream(order.order_id):
                print(frame.seq, frame.status)

    Every call may raise EngineUnavailable or TooManyRequests (retry later), InvalidArgument or
    RequestRefused (do not retry), or UnexpectedAnswer (`base_url` is not an engine that this client
    supports).

    `api_key` is required unless the engine is open. `stream_base_url` is for fleets whose streams
    have another address. Both are reached through the proxy of the environment, if any; see
    `proxies`. Raises InvalidArgument and ProxyUnusable. `timeout_s` bounds each step of a call: to
    connect, to send, to wait for the next bytes. For streams, `silence_max_s` is the longest time without a message (the engine
    pings every 20 s), `reconnect_max_s` the longest pause between two attempts to reconnect, and
    `reconnect_within_s` the time after which a lost stream gives up.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:3000",
        *,
        api_key: str | None = None,
        stream_base_url: str | None = None,
        timeout_s: float = 10.0,
        silence_max_s: float = 45.0,
        reconnect_max_s: float = 5.0,
        reconnect_within_s: float = 60.0,
    ) -> None:
        url = _address(base_url)
        streams = _address(stream_base_url or base_url)
        self._authorization = {} if api_key is None else _authorization(api_key)
        self._proxy = _proxy_to(url)
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            headers=self._authorization,
            transport=httpx2.AsyncHTTPTransport(proxy=self._proxy.url if self._proxy else None),
        )
        self._stream_url = str(streams.copy_with(scheme=WEBSOCKET_SCHEMES[streams.scheme])).rstrip(
            "/"
        )
        self._stream_limits = StreamLimits(
            connect_timeout_s=timeout_s,
            silence_max_s=silence_max_s,
            reconnect_within_s=reconnect_within_s,
            reconnect_max_s=reconnect_max_s,
            proxy=_proxy_to(streams),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(error_type, error, traceback)

    async def place_order(
        self,
        *,
        token_in: str,
        token_out: str,
        amount_in: Decimal | str,
        slippage_tolerance: Decimal | float,
        min_amount_out: Decimal | str | None = None,
        idempotency_key: str | None = None,
    ) -> Acknowledgement:
        """Commits a market order. `slippage_tolerance` is in percent: 0.5 is half a percent.

        After EngineUnavailable the order may exist. With an `idempotency_key`, the same call again
        gives the same order; without one, it may place a second.
        """
        if not math.isfinite(slippage_tolerance):
            raise InvalidArgument(
                f"the slippage tolerance must be a number of percent, not {slippage_tolerance}"
            )
        body: dict[str, str | float] = {
            "tokenIn": token_in,
            "tokenOut": token_out,
            "amountIn": on_the_wire(amount_in),
            "slippageTolerance": float(slippage_tolerance),  # the API takes a JSON number
        }
        if min_amount_out is not None:
            body["minAmountOut"] = on_the_wire(min_amount_out)
        response = await self._request(
            "POST",
            "/api/orders/execute",
            body=body,
            headers={} if idempotency_key is None else {"Idempotency-Key": idempotency_key},
        )
        return replace(
            parsed(ACKNOWLEDGEMENT, response.content),
            replayed=response.headers.get("Idempotent-Replayed") == "true",
        )

    async def get_order(self, order_id: UUID) -> OrderView:
        """The order in its present state. Raises OrderNotFound."""
        response = await self._request("GET", f"/api/orders/{order_id}")
        return parsed(ORDER, response.content).order

    async def list_orders(
        self,
        *,
        statuses: Collection[OrderStatus] = (),
        token_in: str | None = None,
        token_out: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[OrderView, None]:
        """Orders, newest first, each once, even when others are placed meanwhile.

        `after` and `before` bound the time of creation. A page is requested when the previous one is
        used up; `page_size` is 1 to 200.
        """
        query: dict[str, str | list[str]] = {"limit": str(page_size)}
        if statuses:
            query["status"] = [str(status) for status in statuses]
        for name, value in (("tokenIn", token_in), ("tokenOut", token_out)):
            if value is not None:
                query[name] = value
        for name, bound in (("after", after), ("before", before)):
            if bound is not None:
                query[name] = bound.isoformat()
        while True:
            response = await self._request("GET", "/api/orders", query=query)
            page = parsed(ORDERS, response.content)
            for order in page.orders:
                yield order
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def cancel_order(self, order_id: UUID) -> Cancellation:
        """Cancels the order unless it is submitted. A second call changes nothing.

        Raises OrderNotFound, and RequestRefused with the code `not_cancellable` when it is too late.
        """
        response = await self._request("POST", f"/api/orders/{order_id}/cancel")
        return parsed(CANCELLATION, response.content)

    async def health(self) -> Health:
        response = await self._request("GET", "/health")
        return parsed(HEALTH, response.content)

    def stream(self, order_id: UUID, *, after: int = 0) -> AsyncGenerator[StatusFrame, None]:
        """The statuses of the order with a `seq` above `after`, in order, each once, to the final one.

        Reconnects by itself. Raises OrderNotFound, StreamRefused, UnexpectedAnswer, and StreamLost
        when a loss has lasted `reconnect_within_s` (and up to `timeout_s` more for the last attempt).
        A caller that may stop early closes the connection with `contextlib.aclosing`.
        """
        url = f"{self._stream_url}/api/orders/{order_id}/stream"
        return Subscription(
            url, after=after, limits=self._stream_limits, headers=self._authorization
        ).frames()

    async def follow(self, order_id: UUID) -> tuple[StatusFrame, ...]:
        """All statuses of the order, after its final one. Raises the errors of `stream`.

        Waits until the order ends: bound it with `asyncio.timeout`.
        """
        return tuple([frame async for frame in self.stream(order_id)])

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | list[str]] | None = None,
        body: Mapping[str, str | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            response = await self._http.request(
                method, path, params=query, json=body, headers=headers
            )
        except UnicodeEncodeError as error:
            wrong = ascii(error.object[error.start : error.end])
            raise InvalidArgument(f"cannot send {wrong} as {error.encoding}") from error
        except httpx2.LocalProtocolError as error:
            raise InvalidArgument(f"cannot send this request: {error}") from error
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            server = f"{self._http.base_url}{way_through(self._proxy)}"
            raise EngineUnavailable(f"no answer from {server}: {reason}") from error
        if not response.is_success:
            raise refusal(response)
        return response


def on_the_wire(amount: Decimal | str) -> str:
    """The amount without an exponent, which the engine refuses; a string is sent unchanged."""
    return f"{amount:f}" if isinstance(amount, Decimal) else amount


def _proxy_to(url: httpx2.URL) -> Proxy | None:
    return proxy_for(scheme=url.scheme, host=url.host, port=url.port)


def _authorization(api_key: str) -> dict[str, str]:
    key = api_key.strip()  # of a file, which ends with a newline
    if not re.fullmatch("[!-~]+", key):  # not shown: it is a secret
        raise InvalidArgument("the API key has characters that no API key has")
    return {"Authorization": f"Bearer {key}"}


def _address(base_url: str) -> httpx2.URL:
    try:
        url = httpx2.URL(base_url.strip().rstrip("/"))
    except (httpx2.InvalidURL, UnicodeEncodeError):
        url = httpx2.URL()
    is_address = url.scheme in WEBSOCKET_SCHEMES and url.host and (url.port or 0) <= PORT_MAX
    if not is_address:
        raise InvalidArgument(f"base_url is not an http or https address: {base_url!a}")
    return url
