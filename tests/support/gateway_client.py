"""A client of the gateway for tests: requests, their checks, and orders in any status."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from prometheus_client import REGISTRY

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import GatewaySettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.gateway.app import gateway_app
from support.driven_orders import claim_order
from support.evidence import rows
from support.serving import running
from support.stores import Databases

WITHIN_S = 30
UNKNOWN = "019c0000-0000-7000-8000-00000000dead"
MILLISECONDS_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Talk = Callable[[httpx2.AsyncClient], Awaitable[None]]


def some_settings(**given: Any) -> GatewaySettings:
    return GatewaySettings(_env_file=None, **given)


def run(address: str, talk: Talk) -> None:
    """Runs `talk` with a client of the gateway, for at most 30 s."""

    async def work() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            httpx2.AsyncClient(base_url=f"http://{address}", timeout=WITHIN_S) as http,
        ):
            await talk(http)

    asyncio.run(work())


def run_alone(settings: GatewaySettings, talk: Talk) -> None:
    """The same with a new gateway. All its hints are written when this returns."""
    with running(gateway_app(settings)) as address:
        run(address, talk)


def a_body(**changes: Any) -> dict[str, Any]:
    return {
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "100",
        "slippageTolerance": 0.5,
    } | changes


async def post(http: httpx2.AsyncClient, *, key: str | None = None, **changes: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await http.post("/api/orders/execute", json=a_body(**changes), headers=headers)


async def post_raw(
    http: httpx2.AsyncClient, content: bytes, content_type: str = "application/json"
) -> Any:
    return await http.post(
        "/api/orders/execute", content=content, headers={"Content-Type": content_type}
    )


async def placed(http: httpx2.AsyncClient, **changes: Any) -> str:
    """The id of a new order."""
    answer = await post(http, **changes)
    assert answer.status_code == 201
    order_id: str = answer.json()["orderId"]
    return order_id


def a_key() -> str:
    return f"key-{uuid.uuid4()}"


def is_problem(answer: Any, status: int, code: str) -> bool:
    """Compares all of a problem but its texts; asserts, and returns True."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    found = {name: body[name] for name in ("type", "status", "code", "success")}
    assert (answer.status_code, found) == (
        status,
        {"type": "about:blank", "status": status, "code": code, "success": False},
    )
    assert body["title"]
    assert body["detail"]
    return True


async def led(databases: Databases, order_id: str, *, to: OrderStatus) -> None:
    """Moves an order to a status, as an order-worker would."""
    orders = Orders(
        GroupCommit(databases.orders_url, application_name="test"),
        Reader(databases.orders_url, application_name="test", connections_max=1),
        claimer=Claimer(name="test", lease_s=10),
    )
    order = await claim_order(orders, OrderId(uuid.UUID(order_id)))
    await order.advance(to=to)
    orders.close()


def with_key(databases: Databases, key: str) -> list[dict[str, Any]]:
    return rows(databases.orders_url, "SELECT id FROM orders WHERE idempotency_key = %s", [key])


def samples(name: str, **labels: str) -> float:
    """The value of one sample of this process; 0 when it does not exist yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
