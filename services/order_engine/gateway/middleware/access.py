"""Who may pass: an API key in the Authorization header, or anybody where the engine is open."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import ANYONE, Caller, Scope
from order_engine.gateway.contract.problems import Forbidden, ForeignPage, Unauthorized
from order_engine.gateway.middleware.rate_limits import RequestLimits
from order_engine.serving.addresses import names_this_machine
from order_engine.serving.bearer import bearer_key
from order_engine.serving.origins import is_allowed_origin

SAFE = frozenset({"GET", "HEAD"})

Endpoint = Callable[[Request, Caller], Awaitable[Response]]


def admitted(scope: Scope, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, for callers that have `scope`, within the limit of their key."""

    async def guarded(request: Request) -> Response:
        _refuse_foreign_page(request)
        caller = await _caller(request)
        if caller.key_id is not None:
            limits: RequestLimits = request.app.state.limits
            limits.take("key", caller.key_id, request.scope["quotas"])
        if scope not in caller.scopes:
            raise Forbidden(f"this key lacks the scope {scope}")
        return await endpoint(request, caller)

    return guarded


def _refuse_foreign_page(request: Request) -> None:
    """Forms of any page come without a preflight. CORS alone decides who may read what is safe."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is None or request.method in SAFE:
        return
    if not is_allowed_origin(origin, host, origins=request.app.state.cors_origins):
        raise ForeignPage("pages of this origin may not do this: CORS_ORIGINS does not name it")


async def _caller(request: Request) -> Caller:
    keys: ApiKeys | None = request.app.state.keys_asked_for
    if keys is None:
        is_ours = names_this_machine(request.headers.get("host", ""))
        if request.app.state.is_for_this_machine and not is_ours:
            raise Forbidden("this engine is open to its own machine alone, by a name of its own")
        return ANYONE
    shown = bearer_key(request.headers.get("authorization", ""))
    if shown is None:
        raise Unauthorized("send an API key: Authorization: Bearer oe_...")
    caller = await keys.caller(shown)
    if caller is None:
        raise Unauthorized("this API key is not known, or has been revoked")
    return caller
