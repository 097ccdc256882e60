"""A whole fleet that asks for keys: each account sees its own orders, and no others."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from order_engine.client import EngineClient, OrderNotFound, RequestRefused, StreamRefused
from support.fleet import INSTANT, Fleet, running_fleet
from support.stores import Databases
from support.trading import SOL_USDC, Trading

pytestmark = pytest.mark.fleet

SETTINGS = {**INSTANT, "AUTH": "keys"}


def order_engine(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {
        "DATABASE_URL": fleet.databases.orders_url,
        "ENGINE_URL": f"http://127.0.0.1:{fleet['gateway'].ports['PORT']}",
        "ENGINE_STREAM_URL": f"http://127.0.0.1:{fleet['ws-gateway'].ports['PORT']}",
    }
    return subprocess.run(
        [Path(sys.executable).parent / "order-engine", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def a_key(fleet: Fleet, account: str, *scopes: str) -> str:
    options = [f"--scope={scope}" for scope in scopes]
    made = order_engine(fleet, "keys", "create", account, *options)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout.strip()


async def refused_with(engine: EngineClient) -> int:
    with pytest.raises(RequestRefused) as refusal:
        await engine.place_order(**SOL_USDC)  # type: ignore[arg-type]
    return refusal.value.status


def test_each_account_trades_and_sees_its_own_orders_alone(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    alices, bobs = Trading(), Trading()

    async def trade() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
            keys = [a_key(fleet, account, "trade", "read") for account in ("alice", "bob")]
            async with fleet.client(keys[0]) as alice, fleet.client(keys[1]) as bob:
                for trading, engine in ((alices, alice), (bobs, bob)):
                    ids = await trading.place(engine, 5)
                    await trading.follow(engine, ids, clients=2, within_s=60)
                seen = [order.order_id async for order in alice.list_orders(page_size=2)]
                assert seen == sorted(alices.acknowledged, reverse=True)
                foreign = bobs.acknowledged[0]
                with pytest.raises(OrderNotFound):
                    await alice.get_order(foreign)
                with pytest.raises(OrderNotFound):
                    await alice.cancel_order(foreign)
                with pytest.raises(OrderNotFound):
                    await alice.follow(foreign)

    asyncio.run(trade())
    alices.acknowledged += bobs.acknowledged
    alices.logs.update({(f"bob-{name}", id_): log for (name, id_), log in bobs.logs.items()})

    assert alices.violations(databases) == []


def test_nothing_opens_without_the_right_key(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    async def knock() -> None:
        with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
            reader, trader = a_key(fleet, "alice", "read"), a_key(fleet, "alice", "trade")
            async with fleet.client(trader) as engine:
                order = await engine.place_order(**SOL_USDC)  # type: ignore[arg-type]
                with pytest.raises(StreamRefused, match="4403"):
                    await engine.follow(order.order_id)
            async with fleet.client(reader) as engine:
                assert await refused_with(engine) == 403
                assert len(await engine.follow(order.order_id)) == 5
            async with fleet.client(None) as engine:
                assert await refused_with(engine) == 401
                with pytest.raises(StreamRefused, match="4401"):
                    await engine.follow(order.order_id)
            revoked = order_engine(fleet, "keys", "revoke", trader.split("_")[1])
            assert revoked.returncode == 0
            async with fleet.client(trader) as engine:
                assert await refused_with(engine) == 401
            listed = order_engine(fleet, "keys", "list", "alice")
            assert trader.split("_")[1] in listed.stdout
            assert trader.split("_")[2] not in listed.stdout

    asyncio.run(knock())


def test_the_command_line_trades_with_a_key(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    with running_fleet(databases, redis_url, tmp_path, SETTINGS) as fleet:
        key = a_key(fleet, "alice", "trade", "read")
        placed = order_engine(fleet, "place", "SOL", "USDC", "100", f"--api-key={key}")
        without = order_engine(fleet, "place", "SOL", "USDC", "100")

    assert placed.returncode == 0, placed.stdout
    assert "confirmed" in placed.stdout
    assert without.returncode == 1
    assert "unauthorized" in without.stdout
