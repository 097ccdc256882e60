"""Decides which requests are served: by API key, or without one in open mode."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.domain.accounts import ANYONE, Caller, Scope
from order_engine.execution.open_mode import names_this_machine
from order_engine.gateway.contract.problems import Forbidden, ForeignPage, Unauthorized
from order_engine.gateway.middleware.rate_limits import RequestLimits
from order_engine.serving.bearer import bearer_key
from order_engine.serving.origins import is_allowed_origin

SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """`keys` is None in open mode. `is_for_this_machine`: open to requests for localhost only."""

    keys: ApiKeys | None
    is_for_this_machine: bool
    cors_origins: Sequence[str]
    limits: RequestLimits

    @property
    def is_open(self) -> bool:
        return self.keys is None

    async def admit(self, request: Request, *, scope: Scope) -> Caller:
        """The caller, counted against the limit of its key.

        Raises ForeignPage, Unauthorized, TooManyRequests or Forbidden.
        """
        self._refuse_foreign_page(request)
        caller = await self._caller(request)
        if caller.key_id is not None:
            self.limits.take("key", caller.key_id, request.scope["exchange"].quotas)
        if scope not in caller.scopes:
            raise Forbidden(f"this API key lacks the scope {scope}")
        return caller

    def _refuse_foreign_page(self, request: Request) -> None:
        """A form on any page is sent without a preflight; CORS only protects reads."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if origin is None or request.method in SAFE_METHODS:
            return
        if not is_allowed_origin(origin, host, origins=self.cors_origins):
            raise ForeignPage("this origin is not allowed (CORS_ORIGINS lists the allowed ones)")

    async def _caller(self, request: Request) -> Caller:
        if self.keys is None:
            is_local = names_this_machine(request.headers.get("host", ""))
            if self.is_for_this_machine and not is_local:
                raise Forbidden(
                    "open mode only accepts requests for this machine (Host: localhost)"
                )
            return ANYONE
        key = bearer_key(request.headers.get("authorization", ""))
        if key is None:
            raise Unauthorized("an API key is required: Authorization: Bearer oe_...")
        caller = await self.keys.caller(key)
        if caller is None:
            raise Unauthorized("the API key is unknown or revoked")
        return caller
