"""API keys are made, listed and revoked; and a browser gets what opens a stream."""

from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import STREAM_TOKEN_S, StreamTokens
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.ids import AccountId
from order_engine.gateway.contract import answers
from order_engine.gateway.contract.fields import KEY_ID
from order_engine.gateway.contract.forms import KeyForm, read_form
from order_engine.gateway.contract.problems import KeyNotFound
from order_engine.gateway.contract.queries import KeyQuery, read_query
from order_engine.gateway.endpoints.orders import read_body


async def make_key(request: Request, _: Caller) -> Response:
    keys: ApiKeys = request.app.state.keys
    form = read_form(KeyForm, await read_body(request))
    key, secret = await keys.make(AccountId(form.account_id), form.scopes, label=form.label)
    made = answers.NewKey(key=answers.key_body(key), secret=secret)
    return made.response(201, headers={"Cache-Control": "no-store"})


async def list_keys(request: Request, _: Caller) -> Response:
    keys: ApiKeys = request.app.state.keys
    account = read_query(KeyQuery, request.query_params).account_id
    known = await keys.all(None if account is None else AccountId(account))
    return answers.AllKeys(keys=[answers.key_body(key) for key in known]).response()


async def revoke_key(request: Request, _: Caller) -> Response:
    keys: ApiKeys = request.app.state.keys
    key_id = request.path_params["key_id"]
    revoked = await keys.revoke(key_id) if KEY_ID.fullmatch(key_id) else None
    if revoked is None:
        raise KeyNotFound("no such key")
    return answers.OneKey(key=answers.key_body(revoked)).response()


async def issue_stream_token(request: Request, caller: Caller) -> Response:
    tokens: StreamTokens = request.app.state.stream_tokens
    token = await tokens.issue(caller)
    answer = answers.StreamToken(token=token, expires_in=STREAM_TOKEN_S)
    return answer.response(201, headers={"Cache-Control": "no-store"})
