"""Which clients may open a stream, and the close codes that the others get."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx2
import pytest
from websockets.asyncio.client import connect

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from support.driven_orders import place_order
from support.evidence import rows
from support.stores import Databases, Stores, execute
from support.streaming import (
    NEVER_S,
    close_code,
    create_key,
    next_messages,
    next_seqs,
    open_multiplexed_socket,
    open_socket,
    open_unknown_order,
    read_to_close,
    run,
    running_ws_gateway,
    send_command,
    subscribed_ws_gateway,
    with_key,
)

S = OrderStatus
OTHER_ACCOUNT = AccountId("mallory")

OpenStream = Callable[..., connect]

both_streams = pytest.mark.parametrize("open_stream", [open_unknown_order, open_multiplexed_socket])


# Keys


@both_streams
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer oe_x",
        f"Bearer oe_{'0' * 16}_{'0' * 64}",
        f"Basic oe_{'0' * 16}_{'0' * 64}",
        "Bearer " + "x" * 4_000,
    ],
)
def test_a_client_without_a_valid_key_is_closed_with_4401(
    gateway_with_keys: str, open_stream: OpenStream, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    async def work() -> None:
        assert await close_code(open_stream(gateway_with_keys, additional_headers=headers)) == 4401

    run(work())


@both_streams
def test_a_key_with_a_wrong_secret_is_closed_with_4401(
    gateway_with_keys: str, keys: ApiKeys, open_stream: OpenStream
) -> None:
    async def work() -> None:
        key = await create_key(keys)
        wrong = key[:-1] + ("0" if key[-1] != "0" else "1")

        assert await close_code(open_stream(gateway_with_keys, **with_key(wrong))) == 4401

    run(work())


@both_streams
@pytest.mark.parametrize("scopes", [[Scope.TRADE], [Scope.ADMIN], [Scope.TRADE, Scope.ADMIN]])
def test_a_key_without_the_scope_read_is_closed_with_4403(
    gateway_with_keys: str, keys: ApiKeys, open_stream: OpenStream, scopes: list[Scope]
) -> None:
    async def work() -> None:
        key = await create_key(keys, LOCAL_ACCOUNT, *scopes)

        assert await close_code(open_stream(gateway_with_keys, **with_key(key))) == 4403

    run(work())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_gives_access_to_the_orders_of_its_account(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys, scheme: str
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        headers = {"Authorization": f"{scheme} {await create_key(keys)}"}
        async with open_socket(
            gateway_with_keys, order.order_id, additional_headers=headers
        ) as socket:
            assert await read_to_close(socket) == ([1, 2, 3, 4, 5], 1000)

    run(work())


def test_an_order_of_another_account_is_unknown_even_while_its_owner_follows_it(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        owner_key, other_key = await create_key(keys), await create_key(keys, OTHER_ACCOUNT)
        assert (
            await close_code(open_socket(gateway_with_keys, order.order_id, **with_key(other_key)))
            == 4404
        )
        async with open_socket(gateway_with_keys, order.order_id, **with_key(owner_key)) as socket:
            assert await next_seqs(socket, 1) == [1]
            assert (
                await close_code(
                    open_socket(gateway_with_keys, order.order_id, **with_key(other_key))
                )
                == 4404
            )
            await order.advance(to=S.CONFIRMED)
            assert await read_to_close(socket) == ([2, 3, 4, 5], 1000)

    run(work())


def test_an_open_engine_needs_no_key(pubsub_gateway: str, orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        async with open_socket(
            pubsub_gateway, order.order_id, "?token=x", **with_key("x")
        ) as socket:
            assert await read_to_close(socket) == ([1, 2, 3, 4, 5], 1000)

    run(work())


# Revoked keys


@both_streams
def test_a_new_socket_with_a_revoked_key_is_closed_with_4401(
    gateway_with_keys: str, keys: ApiKeys, open_stream: OpenStream
) -> None:
    async def work() -> None:
        key = await create_key(keys)
        assert await close_code(open_unknown_order(gateway_with_keys, **with_key(key))) == 4404
        await keys.revoke(key.split("_")[1])

        assert await close_code(open_stream(gateway_with_keys, **with_key(key))) == 4401

    run(work())


def test_revoking_a_key_closes_its_open_sockets_only(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys, tokens: StreamTokens
) -> None:
    async def work() -> None:
        order = await place_order(orders)
        revoked, kept = await create_key(keys), await create_key(keys)
        caller = await keys.caller(revoked)
        assert caller is not None
        token = await tokens.issue(caller)
        async with (
            open_socket(gateway_with_keys, order.order_id, **with_key(revoked)) as one,
            open_multiplexed_socket(gateway_with_keys, **with_key(revoked)) as many,
            open_socket(gateway_with_keys, order.order_id, f"?token={token}") as page,
            open_socket(gateway_with_keys, order.order_id, **with_key(kept)) as other,
        ):
            for socket in (one, page, other):
                await next_seqs(socket, 1)
            await keys.revoke(revoked.split("_")[1])
            for socket in (one, many, page):
                assert await read_to_close(socket) == ([], 4401)
            await order.advance(to=S.CONFIRMED)
            assert await read_to_close(other) == ([2, 3, 4, 5], 1000)

    run(work())


# Stream tokens


async def issue_token(
    keys: ApiKeys, tokens: StreamTokens, account_id: AccountId = LOCAL_ACCOUNT
) -> str:
    caller = await keys.caller(await create_key(keys, account_id))
    assert caller is not None
    return await tokens.issue(caller)


def test_a_stream_token_opens_one_socket(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys, tokens: StreamTokens
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        token = await issue_token(keys, tokens)
        async with open_socket(
            gateway_with_keys, order.order_id, f"?after=2&token={token}"
        ) as socket:
            assert await read_to_close(socket) == ([3, 4, 5], 1000)
        assert (
            await close_code(open_socket(gateway_with_keys, order.order_id, f"?token={token}"))
            == 4401
        )
        assert (
            await close_code(open_multiplexed_socket(gateway_with_keys, f"?token={token}")) == 4401
        )

    run(work())


def test_a_token_used_by_many_clients_at_once_opens_one_stream(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys, tokens: StreamTokens
) -> None:
    async def connect_once(token: str, order_id: object) -> int | None:
        async with open_socket(gateway_with_keys, order_id, f"?token={token}") as socket:
            return (await read_to_close(socket))[1]

    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        token = await issue_token(keys, tokens)
        codes = await asyncio.gather(*(connect_once(token, order.order_id) for _ in range(20)))

        assert sorted(codes, key=str) == [1000] + [4401] * 19

    run(work())


def test_a_stream_token_gives_access_to_the_orders_of_its_account_only(
    gateway_with_keys: str, orders: Orders, keys: ApiKeys, tokens: StreamTokens
) -> None:
    async def work() -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        token = await issue_token(keys, tokens, OTHER_ACCOUNT)

        assert (
            await close_code(open_socket(gateway_with_keys, order.order_id, f"?token={token}"))
            == 4404
        )

    run(work())


@pytest.mark.parametrize("token", ["", "x", f"oest_{'0' * 64}", f"oest_{'0' * 63}", "x" * 4_000])
def test_an_unknown_token_is_closed_with_4401(gateway_with_keys: str, token: str) -> None:
    async def work() -> None:
        assert await close_code(open_unknown_order(gateway_with_keys, f"?token={token}")) == 4401

    run(work())


def test_an_expired_token_is_closed_with_4401(
    databases: Databases, gateway_with_keys: str, keys: ApiKeys, tokens: StreamTokens
) -> None:
    async def work() -> None:
        token = await issue_token(keys, tokens)
        execute(databases.orders_url, "UPDATE stream_tokens SET expires_at = now()")

        assert await close_code(open_unknown_order(gateway_with_keys, f"?token={token}")) == 4401

    run(work())


# Origins


@both_streams
@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://{address}", True),
        ("HTTP://{address}", True),
        ("https://app.example", True),
        ("https://evil.example", False),
        ("http://app.example", False),
        ("https://app.example.evil.example", False),
        ("https://app.example:8443", False),
        ("http://127.0.0.1:1", False),
        ("https://{address}.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("file://", False),
    ],
)
def test_an_origin_must_be_the_same_host_or_allowed(
    gateway_with_origins: str, open_stream: OpenStream, origin: str, is_allowed: bool
) -> None:
    async def work() -> None:
        headers = {"Origin": origin.format(address=gateway_with_origins)}
        async with open_stream(gateway_with_origins, additional_headers=headers) as socket:
            if is_allowed and open_stream is open_multiplexed_socket:
                await send_command(socket, "subscribe", "x")
                [answer] = await next_messages(socket, 1)
                assert answer["code"] == "order_not_found"
            else:
                assert await read_to_close(socket) == ([], 4404 if is_allowed else 4403)

    run(work())


@pytest.fixture(scope="module")
def gateway_with_origins(databases: Databases, stores: Stores) -> Iterator[str]:
    with subscribed_ws_gateway(
        databases.orders_url,
        stores.redis_url,
        ws_position_check_s=NEVER_S,
        cors_origins="https://app.example",
    ) as address:
        yield address


def test_all_origins_are_allowed_by_an_asterisk(
    databases: Databases, stores: Stores, orders: Orders
) -> None:
    async def work(address: str) -> None:
        order = await place_order(orders, at=S.CONFIRMED)
        for origin in ("https://evil.example", "null"):
            headers = {"Origin": origin}
            async with open_socket(address, order.order_id, additional_headers=headers) as socket:
                assert await read_to_close(socket) == ([1, 2, 3, 4, 5], 1000)

    with subscribed_ws_gateway(databases.orders_url, stores.redis_url, cors_origins="*") as address:
        run(work(address))


# Paths


@pytest.mark.parametrize(
    "path", ["/", "/health", "/api", "/api/streams", "/api/orders/x/streams", "/a/../b"]
)
def test_a_path_that_is_not_a_stream_is_closed_with_4404(gateway_with_keys: str, path: str) -> None:
    async def work() -> None:
        assert await close_code(connect(f"ws://{gateway_with_keys}{path}", proxy=None)) == 4404

    run(work())


def test_a_load_balancer_may_check_the_root(gateway_with_keys: str) -> None:
    async def work() -> None:
        async with httpx2.AsyncClient(
            base_url=f"http://{gateway_with_keys}", trust_env=False
        ) as http:
            assert (await http.get("/", headers={"Host": "10.0.0.7"})).status_code == 200

    run(work())


def test_health_needs_no_key(gateway_with_keys: str) -> None:
    async def work() -> None:
        async with httpx2.AsyncClient(
            base_url=f"http://{gateway_with_keys}", trust_env=False
        ) as http:
            answer = await http.get("/health")
        timestamp = answer.json()["timestamp"]

        assert answer.status_code == 200
        assert answer.json() == {"status": "ok", "timestamp": timestamp}
        assert datetime.fromisoformat(timestamp).tzinfo is UTC

    run(work())


def test_without_postgresql_a_client_with_a_key_is_asked_to_reconnect(stores: Stores) -> None:
    async def work(address: str) -> None:
        key = f"oe_{'0' * 16}_{'0' * 64}"
        assert await close_code(open_unknown_order(address, **with_key(key))) == 1012

    unreachable_url = "postgresql://nobody@127.0.0.1:1/orders"
    with running_ws_gateway(unreachable_url, stores.redis_url, auth="keys") as (address, _):
        run(work(address))


def test_concurrent_sockets_record_the_use_of_their_key(
    databases: Databases, gateway_with_keys: str, keys: ApiKeys
) -> None:
    async def work() -> None:
        key = await create_key(keys)
        codes = await asyncio.gather(
            *(close_code(open_unknown_order(gateway_with_keys, **with_key(key))) for _ in range(20))
        )
        assert codes == [4404] * 20
        last_use = "SELECT last_used_at FROM api_keys WHERE id = %s"
        [row] = rows(databases.orders_url, last_use, [key.split("_")[1]])
        assert row["last_used_at"] is not None

    run(work())
