"""Builds the routes from OPERATIONS: one for each path, with every method that the path has."""

import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from order_engine.execution.domain.accounts import Caller, Scope
from order_engine.gateway.contract.operations import OPERATIONS
from order_engine.gateway.endpoints import keys, orders
from order_engine.gateway.services import services

Handler = Callable[[Request], Awaitable[Response]]
Endpoint = Callable[[Request, Caller], Awaitable[Response]]

# by the id of the operation; operations without a scope are handlers and not listed here
ENDPOINTS: Mapping[str, Endpoint] = {
    "placeOrder": orders.execute,
    "listOrders": orders.list_orders,
    "getOrder": orders.get_order,
    "listOrderEvents": orders.get_events,
    "cancelOrder": orders.cancel,
    "issueStreamToken": keys.issue_stream_token,
    "createKey": keys.make_key,
    "listKeys": keys.list_keys,
    "revokeKey": keys.revoke_key,
}


class MethodTable:
    """The ASGI application of one path; answers 405 to a method that the path does not have."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = dict(handlers)
        if "GET" in self.handlers:
            self.handlers["HEAD"] = self.handlers["GET"]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        handler = self.handlers.get(scope["method"])
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self.handlers)})
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)


def routes(public: Mapping[str, Handler]) -> list[Route]:
    """`public`: the handlers of operations that need no scope, by operation id.

    Raises KeyError when an operation has neither a handler nor an endpoint.
    """
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in OPERATIONS:
        handler = (
            guarded(operation.scope, ENDPOINTS[operation.id])
            if operation.scope
            else public[operation.id]
        )
        by_path.setdefault(operation.path, {})[operation.method.upper()] = handler
    # `/api/orders/execute` comes before `/api/orders/{orderId}`, which it also matches
    paths = sorted(by_path, key=lambda path: "{" in path)
    return [Route(route_path(path), MethodTable(by_path[path])) for path in paths]


def guarded(scope: Scope, endpoint: Endpoint) -> Handler:
    """The endpoint, for callers that have `scope`."""

    async def handler(request: Request) -> Response:
        caller = await services(request).access.admit(request, scope=scope)
        return await endpoint(request, caller)

    return handler


def route_path(path: str) -> str:
    """`/api/orders/{order_id}` for `/api/orders/{orderId}`."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", path)
