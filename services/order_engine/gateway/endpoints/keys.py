"""Endpoints of API keys and stream tokens."""

from starlette.requests import Request
from starlette.responses import Response

from order_engine.execution.accounts.stream_tokens import STREAM_TOKEN_S
from order_engine.execution.domain.accounts import Caller
from order_engine.execution.domain.ids import AccountId
from order_engine.gateway.contract import answers
from order_engine.gateway.contract.fields import KEY_ID
from order_engine.gateway.contract.forms import KeyForm, read_form
from order_engine.gateway.contract.problems import KeyNotFound
from order_engine.gateway.contract.queries import KeyQuery, read_query
from order_engine.gateway.endpoints.bodies import read_body
from order_engine.gateway.services import services


async def make_key(request: Request, _: Caller) -> Response:
    state = services(request)
    form = read_form(KeyForm, await read_body(request, bytes_max=state.body_bytes_max))
    key, secret = await state.keys.make(AccountId(form.account_id), form.scopes, label=form.label)
    made = answers.NewKey(key=answers.key_body(key), secret=secret)
    return made.response(201, headers={"Cache-Control": "no-store"})


async def list_keys(request: Request, _: Caller) -> Response:
    account = read_query(KeyQuery, request.query_params).account_id
    keys = await services(request).keys.all(None if account is None else AccountId(account))
    return answers.AllKeys(keys=[answers.key_body(key) for key in keys]).response()


async def revoke_key(request: Request, _: Caller) -> Response:
    key_id = request.path_params["key_id"]
    revoked = await services(request).keys.revoke(key_id) if KEY_ID.fullmatch(key_id) else None
    if revoked is None:
        raise KeyNotFound("no API key has this id")
    return answers.OneKey(key=answers.key_body(revoked)).response()


async def issue_stream_token(request: Request, caller: Caller) -> Response:
    token = await services(request).stream_tokens.issue(caller)
    answer = answers.StreamToken(token=token, expires_in=STREAM_TOKEN_S)
    return answer.response(201, headers={"Cache-Control": "no-store"})
