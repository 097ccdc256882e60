"""Who may open a stream: an API key, a stream token, or anybody where the engine is open."""

import asyncio
from collections.abc import Collection

from starlette.websockets import WebSocket

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import ANYONE, Caller, Scope
from order_engine.execution.messages.streams import Close
from order_engine.execution.open_mode import names_this_machine
from order_engine.serving.addresses import client_network
from order_engine.serving.bearer import bearer_key
from order_engine.serving.origins import is_allowed_origin
from order_engine.ws_gateway.close_codes import Refused


class Door:
    """`keys` is None where the engine is open."""

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
        self._looks: dict[str, asyncio.Task[Caller | None]] = {}

    async def admit(self, websocket: WebSocket) -> Caller:
        """Who has come; raises Refused, and StoreUnavailable or Overloaded where nobody can tell."""
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
        shown, token = bearer_key(authorization), websocket.query_params.get("token")
        if shown is not None:
            return await self._look(shown, keys)
        if not authorization and token is not None:
            return await self._tokens.redeem(token)
        return None

    async def _look(self, key: str, keys: ApiKeys) -> Caller | None:
        """Who shows this key, by a look that begins after this call, which others may share."""
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.create_task(self._begin_look(key, keys))
        return await asyncio.shield(look)

    async def _begin_look(self, key: str, keys: ApiKeys) -> Caller | None:
        del self._looks[key]  # who comes from now on needs another: a key may be revoked meanwhile
        return await keys.caller(key)


def address_of(websocket: WebSocket) -> str:
    """Whose limit a socket counts against; empty where the server does not say who is there."""
    return client_network(websocket.client.host) if websocket.client else ""
