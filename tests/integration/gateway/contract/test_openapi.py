"""The gateway does as its OpenAPI document says: schemathesis asks whatever the document allows, and
whatever it forbids, of every operation.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import httpx2
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import OrderStatus
from order_engine.gateway.contract.openapi import document
from support.builders import a_new_order
from support.doors import a_new_key, orders_in, running_gateway, showing
from support.lives import claimed_life
from support.stores import Databases, Stores, fresh_databases

pytestmark = [
    pytest.mark.timeout(300),
    # the gateway draws lots on its own thread, while hypothesis watches the random module
    pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies"),
]

EXAMPLES = 40
ACME = AccountId("acme")
NO_SUCH_PATH = "not_found"  # an id with a slash in it makes another path


def described(*, is_open: bool) -> Any:
    settings = {
        "generation": {
            "max-examples": EXAMPLES,
            "deterministic": True,
            "database": "none",
            "with-security-parameters": False,  # the key is ours; `ignored_auth` takes it away
        },
        "suppress-health-check": ["all"],
    }
    return schemathesis.openapi.from_dict(
        dict(document(is_open=is_open)), config=SchemathesisConfig.from_dict(settings)
    )


OPEN = described(is_open=True)
KEYED = described(is_open=False)


def is_known_by_its_code(_: Any, response: Any, case: Any) -> None:
    """A problem has one of the codes that the document names for its operation and status."""
    operation = case.operation
    [media_type] = response.headers["content-type"]
    if (
        media_type != "application/problem+json"
        or response.request.method.lower() != operation.method
    ):
        return
    code = response.json()["code"]
    described = operation.definition.raw["responses"][str(response.status_code)]["content"]
    assert code in described[media_type]["examples"] or code == NO_SUCH_PATH


@dataclass(slots=True, kw_only=True)
class Door:
    """A gateway to be asked, by one who can open all of it, and what is to be found behind."""

    url: str
    headers: dict[str, str]
    orders: Iterator[str]
    keys: Iterator[str]
    cursor: str = ""
    used: set[str] = field(default_factory=set)

    def ask(self, case: Any) -> None:
        if case.meta.generation.mode.is_positive:
            self._mend(case)
        case.call_and_validate(
            base_url=self.url,
            headers=self.headers or None,
            additional_checks=[is_known_by_its_code],
        )

    def _mend(self, case: Any) -> None:
        """Has the case say what a schema cannot ask for: names of things that exist, and the like."""
        for name, known in (("orderId", self.orders), ("keyId", self.keys)):
            if name in case.path_parameters:
                case.path_parameters[name] = next(known)
        if "cursor" in case.query:
            case.query["cursor"] = self.cursor
        if case.operation.label == "POST /api/orders/execute":
            self._mend_order(case)

    def _mend_order(self, case: Any) -> None:
        body: dict[str, Any] = case.body
        if body["tokenIn"] == body["tokenOut"]:
            body["tokenOut"] = f"{body['tokenIn'][:-1]}{'y' if body['tokenIn'][-1] == 'x' else 'x'}"
        body["slippageTolerance"] = round(body["slippageTolerance"], 18)
        key = case.headers.get("Idempotency-Key") or body.get("clientOrderId")
        if key is not None:
            key = key if key not in self.used else str(uuid.uuid4())
            self.used.add(key)
        if "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = key
        if body.get("clientOrderId") is not None:
            body["clientOrderId"] = key


@pytest.fixture(scope="module")
def databases(stores: Stores) -> Iterator[Databases]:
    with fresh_databases(stores) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def open_door(databases: Databases, stores: Stores) -> Iterator[Door]:
    with running_gateway(databases, stores) as address:
        yield a_door(address, databases, account=LOCAL_ACCOUNT, headers={})


@pytest.fixture(scope="module")
def keyed_door(databases: Databases, stores: Stores) -> Iterator[Door]:
    _, secret = a_new_key(databases, *Scope, account=ACME)
    with running_gateway(databases, stores, auth="keys") as address:
        yield a_door(address, databases, account=ACME, headers=showing(secret))


def a_door(
    address: str, databases: Databases, *, account: AccountId, headers: dict[str, str]
) -> Door:
    url = f"http://{address}"
    orders = an_order_of_every_status(databases, account)
    keys = [a_new_key(databases, Scope.READ, account="other")[0].id for _ in range(2)]
    page = httpx2.get(f"{url}/api/orders?limit=1", headers=headers).json()
    return Door(
        url=url,
        headers=headers,
        orders=cycle(orders),
        keys=cycle(keys),
        cursor=page["nextCursor"],
    )


def an_order_of_every_status(databases: Databases, account: AccountId) -> list[str]:
    async def lead() -> list[str]:
        ids = []
        async with orders_in(databases) as orders:
            for status in OrderStatus:
                order_id = OrderId(uuid.uuid4())
                await orders.place(a_new_order(id=order_id, account_id=account))
                life = await claimed_life(orders, order_id)
                if status is OrderStatus.FAILED:
                    await life.move(status)
                else:
                    await life.lead(to=status)
                ids.append(str(order_id))
        return ids

    return asyncio.run(lead())


@OPEN.parametrize()
def test_an_open_gateway_does_as_described(case: Any, open_door: Door) -> None:
    open_door.ask(case)


@KEYED.parametrize()
def test_a_gateway_that_asks_for_keys_does_as_described(case: Any, keyed_door: Door) -> None:
    keyed_door.ask(case)


@pytest.mark.parametrize("is_open", [True, False])
def test_the_document_served_is_the_one_proved_here(
    open_door: Door, keyed_door: Door, is_open: bool
) -> None:
    door = open_door if is_open else keyed_door
    answer = httpx2.get(f"{door.url}/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(document(is_open=is_open)))
