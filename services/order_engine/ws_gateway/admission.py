"""Decides which clients get a stream: by API key, by stream token, or without either in open mode."""

import asyncio
from collections.abc import Collection

from starlette.websockets import WebSocket

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import ANYONE, Caller, Scope
from order_engine.execution.messages.stream_contract import Close
from order_engine.execution.open_mode import names_this_machine
from order_engine.serving.addresses import client_network
from order_engine.serving.bearer import bearer_key
from order_engine.serving.origins import is_allowed_origin
from order_engine.ws_gateway.refusals import Refused


class Admission:
    """`keys` is None in open mode."""

    def __init__(
        self,
        keys: ApiKeys | None,
        tokens: StreamTokens,
        *,
        origins: Collection[str],
        is_for_this_machine: bool,
    ) -> None:
        self._is_for_this_machine = is_for_this_machine
        self._keys = keys
        self._tokens = tokens
        self._origins = origins
        self._lookups: dict[str, asyncio.Task[Caller | None]] = {}

    async def admit(self, websocket: WebSocket) -> Caller:
        """The caller. Raises Refused, and StoreUnavailable or Overloaded when PostgreSQL is away."""
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host", "")
        if origin is not None and not is_allowed_origin(origin, host, origins=self._origins):
            raise Refused(Close.FORBIDDEN)
        if self._keys is None:
            if self._is_for_this_machine and not names_this_machine(host):
                raise Refused(Close.FORBIDDEN)
            return ANYONE
        caller = await self._caller(websocket, self._keys)
        if caller is None:
            raise Refused(Close.UNAUTHORIZED)
        if Scope.READ not in caller.scopes:
            raise Refused(Close.FORBIDDEN)
        return caller

    async def _caller(self, websocket: WebSocket, keys: ApiKeys) -> Caller | None:
        authorization = websocket.headers.get("authorization", "")
        key, token = bearer_key(authorization), websocket.query_params.get("token")
        if key is not None:
            return await self._look_up(key, keys)
        if not authorization and token is not None:
            return await self._tokens.redeem(token)
        return None

    async def _look_up(self, key: str, keys: ApiKeys) -> Caller | None:
        """The caller with this key, by a lookup that starts after this call; others may share it."""
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._start_lookup(key, keys))
        return await asyncio.shield(lookup)

    async def _start_lookup(self, key: str, keys: ApiKeys) -> Caller | None:
        del self._lookups[key]  # later calls need another lookup: the key may be revoked meanwhile
        return await keys.caller(key)


def address_of(websocket: WebSocket) -> str:
    """The address that a socket is counted by; empty when the server does not know it."""
    return client_network(websocket.client.host) if websocket.client else ""
