"""The gateway conforms to its OpenAPI document: schemathesis sends every operation valid and invalid
requests. The document itself is checked as it is served.
"""

import asyncio
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import httpx2
import pytest
import schemathesis
import yaml
from openapi_spec_validator import validate_url
from schemathesis.config import SchemathesisConfig

from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import OrderStatus
from order_engine.gateway.contract.openapi import document
from support.builders import a_new_order
from support.driven_orders import claim_order
from support.gateways import bearer_header, new_api_key, open_orders, running_gateway
from support.stores import Databases, Stores, fresh_databases

pytestmark = [
    pytest.mark.timeout(300),
    # the gateway uses random on its own thread while hypothesis watches the random module
    pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies"),
]

EXAMPLES = 40
ACME = AccountId("acme")
NO_SUCH_PATH = "not_found"  # an id with a slash is another path


def described(*, is_open: bool) -> Any:
    settings = {
        "generation": {
            "max-examples": EXAMPLES,
            "deterministic": True,
            "database": "none",
            "with-security-parameters": False,  # the test sends the key; `ignored_auth` drops it
        },
        "suppress-health-check": ["all"],
    }
    return schemathesis.openapi.from_dict(
        dict(document(is_open=is_open)), config=SchemathesisConfig.from_dict(settings)
    )


OPEN = described(is_open=True)
KEYED = described(is_open=False)


def is_known_by_its_code(_: Any, response: Any, case: Any) -> None:
    """A problem has a code that the document lists for its operation and status."""
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
class Target:
    """A gateway, the headers that give access to all of it, and the ids of what it has."""

    url: str
    headers: dict[str, str]
    orders: Iterator[str]
    keys: Iterator[str]
    cursor: str = ""
    used: set[str] = field(default_factory=set)

    def send(self, case: Any) -> None:
        if case.meta.generation.mode.is_positive:
            self._complete(case)
        case.call_and_validate(
            base_url=self.url,
            headers=self.headers or None,
            additional_checks=[is_known_by_its_code],
        )

    def _complete(self, case: Any) -> None:
        """Fills in what a schema cannot express: ids that exist, a valid cursor, unused keys."""
        for name, known in (("orderId", self.orders), ("keyId", self.keys)):
            if name in case.path_parameters:
                case.path_parameters[name] = next(known)
        if "cursor" in case.query:
            case.query["cursor"] = self.cursor
        if case.operation.label == "POST /api/orders/execute":
            self._complete_order(case)

    def _complete_order(self, case: Any) -> None:
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
def open_target(databases: Databases, stores: Stores) -> Iterator[Target]:
    with running_gateway(databases, stores) as address:
        yield a_target(address, databases, account=LOCAL_ACCOUNT, headers={})


@pytest.fixture(scope="module")
def keyed_target(databases: Databases, stores: Stores) -> Iterator[Target]:
    _, secret = new_api_key(databases, *Scope, account=ACME)
    with running_gateway(databases, stores, auth="keys") as address:
        yield a_target(address, databases, account=ACME, headers=bearer_header(secret))


def a_target(
    address: str, databases: Databases, *, account: AccountId, headers: dict[str, str]
) -> Target:
    url = f"http://{address}"
    orders = an_order_of_every_status(databases, account)
    keys = [new_api_key(databases, Scope.READ, account="other")[0].id for _ in range(2)]
    page = httpx2.get(f"{url}/api/orders?limit=1", headers=headers).json()
    return Target(
        url=url,
        headers=headers,
        orders=cycle(orders),
        keys=cycle(keys),
        cursor=page["nextCursor"],
    )


def an_order_of_every_status(databases: Databases, account: AccountId) -> list[str]:
    async def place_all() -> list[str]:
        ids = []
        async with open_orders(databases) as orders:
            for status in OrderStatus:
                order_id = OrderId(uuid.uuid4())
                await orders.place(a_new_order(id=order_id, account_id=account))
                order = await claim_order(orders, order_id)
                if status is OrderStatus.FAILED:
                    await order.move(status)
                else:
                    await order.advance(to=status)
                ids.append(str(order_id))
        return ids

    return asyncio.run(place_all())


@OPEN.parametrize()  # type: ignore[untyped-decorator]  # untyped in schemathesis
def test_an_open_gateway_conforms_to_its_document(case: Any, open_target: Target) -> None:
    open_target.send(case)


@KEYED.parametrize()  # type: ignore[untyped-decorator]  # untyped in schemathesis
def test_a_gateway_with_api_keys_conforms_to_its_document(case: Any, keyed_target: Target) -> None:
    keyed_target.send(case)


@pytest.mark.parametrize("is_open", [True, False])
def test_the_served_document_is_the_one_tested_here(
    open_target: Target, keyed_target: Target, is_open: bool
) -> None:
    target = open_target if is_open else keyed_target
    answer = httpx2.get(f"{target.url}/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(document(is_open=is_open)))


# The document as it is served


@pytest.fixture(scope="module", params=["open", "keyed"])
def document_url(open_target: Target, keyed_target: Target, request: pytest.FixtureRequest) -> str:
    target = open_target if request.param == "open" else keyed_target
    return f"{target.url}/openapi.json"


def test_the_served_document_is_valid_openapi(document_url: str) -> None:
    validate_url(document_url)  # raises OpenAPIValidationError


def test_the_command_line_validator_accepts_the_served_document(document_url: str) -> None:
    command = [sys.executable, "-m", "openapi_spec_validator", "-"]
    text = httpx2.get(document_url).text
    checked = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_yaml_readers_read_the_served_document_as_json_readers_do(document_url: str) -> None:
    text = httpx2.get(document_url).text

    assert yaml.safe_load(text) == json.loads(text)


def test_the_served_document_has_no_unpaired_surrogates(document_url: str) -> None:
    text = httpx2.get(document_url).text
    strings = json.dumps(json.loads(text), ensure_ascii=False)

    assert re.search(r"\\u[dD][89a-fA-F]", text) is None
    assert strings.encode().decode() == strings
