"""The imports of `services/` keep the rules of docs/architecture.md, and the rules can fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.architecture import (
    CLIENT,
    CORE,
    DEPLOYABLES,
    ENGINE,
    LIBRARY,
    MAY_IMPORT,
    NEVER_OPENS,
    PARTS,
    RULES,
    SERVER,
    Rule,
    Sources,
    chains,
    client_imports_only_the_contract,
    domain_is_pure,
    functions_stay_short,
    imports_are_absolute,
    modules_stay_short,
    no_modules_import_each_other,
    no_part_opens_a_store_that_it_must_not,
    parts_import_only_what_they_may,
    read_sources,
    stores_import_only_errors_of_the_domain,
)

SERVICES = Path(__file__).parents[2] / "services"


@pytest.fixture(scope="module")
def services() -> Sources:
    return read_sources(SERVICES)


@pytest.mark.parametrize("rule", RULES)
def test_our_sources_keep_the_rule(rule: Rule, services: Sources) -> None:
    assert rule(services) == []


@pytest.mark.parametrize("part", sorted({*PARTS, *NEVER_OPENS, f"{CORE}.domain", f"{CORE}.stores"}))
def test_every_part_that_a_rule_names_exists(part: str, services: Sources) -> None:
    assert part in services


@pytest.mark.parametrize(
    "name", sorted({name for forbidden in NEVER_OPENS.values() for name in forbidden})
)
def test_every_forbidden_module_is_opened_by_another_deployable(
    name: str, services: Sources
) -> None:
    assert any(name in chains(part, services) for part in DEPLOYABLES)


def test_nothing_lies_outside_the_parts(services: Sources) -> None:
    outside = [module for module in services if not module.startswith((*PARTS, "rq_slots"))]

    assert outside == [ENGINE]


# Sources that keep every rule; each case below replaces or adds one module

SOUND = {
    LIBRARY: "",
    f"{LIBRARY}.enqueue": "import rq",
    f"{LIBRARY}.worker": f"import rq\nfrom {LIBRARY} import enqueue",
    ENGINE: "",
    SERVER: "import uvicorn",
    CORE: "",
    f"{CORE}.domain": "",
    f"{CORE}.domain.errors": "",
    f"{CORE}.domain.status": "from enum import StrEnum",
    f"{CORE}.domain.order": f"from {CORE}.domain.status import OrderStatus",
    f"{CORE}.stores": "",
    f"{CORE}.stores.batches": f"import threading\nfrom {CORE}.domain.errors import Overloaded",
    f"{CORE}.stores.postgres": f"import psycopg2\nfrom {CORE}.stores import batches",
    f"{CORE}.orders": "",
    f"{CORE}.orders.moves": "",
    f"{CORE}.orders.repository": f"from {CORE}.stores.postgres import Row",
    f"{CORE}.messages": "",
    f"{CORE}.messages.frames": f"from {CORE}.domain.order import Order",
    f"{CORE}.messages.stream_contract": "from enum import IntEnum",
    f"{CORE}.messages.publisher": f"from {CORE}.messages import frames",
    f"{CORE}.messages.hints": f"from {LIBRARY} import enqueue",
    f"{CORE}.migrations": "import psycopg2",
    f"{ENGINE}.gateway": "",
    f"{ENGINE}.gateway.app": (
        f"from {CORE}.orders import repository\nfrom {CORE}.messages import hints\nimport {SERVER}"
    ),
    f"{ENGINE}.order_worker": "",
    f"{ENGINE}.order_worker.main": (
        f"from {CORE}.orders import repository\nfrom {LIBRARY} import worker"
    ),
    f"{ENGINE}.status_dispatcher": "",
    f"{ENGINE}.status_dispatcher.main": (
        f"from {CORE}.messages import publisher\nfrom {LIBRARY} import worker"
    ),
    f"{ENGINE}.ws_gateway": "",
    f"{ENGINE}.ws_gateway.app": (
        f"from {CORE}.orders import repository\nfrom {CORE}.messages import publisher"
    ),
    CLIENT: f"from {CORE}.domain.status import OrderStatus\nfrom {CORE}.messages import stream_contract",
    f"{ENGINE}.cli": f"import {CLIENT}",
    f"{ENGINE}.local": f"import {ENGINE}.gateway.app, {ENGINE}.ws_gateway.app",
}


@pytest.mark.parametrize("rule", RULES)
def test_sound_sources_keep_the_rule(rule: Rule) -> None:
    assert rule(SOUND) == []


Case = tuple[Rule, str, str, str]
GATEWAY = f"{ENGINE}.gateway.app"
ORDER = f"{CORE}.domain.order"


def forbidden_imports() -> Iterator[Case]:
    for part, allowed in MAY_IMPORT.items():
        for other in sorted(set(PARTS) - allowed - {part}):
            yield (
                parts_import_only_what_they_may,
                f"{part}.further",
                f"import {other}.main",
                f"{part}.further imports {other}",
            )


def impure_lines() -> Iterator[Case]:
    modules = "os socket asyncio logging time random threading subprocess pathlib secrets structlog"
    for name in (*modules.split(), "redis", "psycopg2", "pydantic", f"{CORE}.settings"):
        yield domain_is_pure, ORDER, f"import {name}", f"order imports {name}"
    yield domain_is_pure, ORDER, "from time import time", "order imports time"
    yield domain_is_pure, ORDER, "datetime.now(UTC)", "order uses .now"
    yield domain_is_pure, ORDER, "clock = datetime.utcnow", "order uses .utcnow"
    yield domain_is_pure, ORDER, "date.today()", "order uses .today"
    yield domain_is_pure, ORDER, "from uuid import uuid4", "order uses uuid4"
    yield domain_is_pure, ORDER, "uuid.uuid4()", "order uses .uuid4"
    yield domain_is_pure, ORDER, "open('orders')", "order uses open"
    yield domain_is_pure, ORDER, "print('moved')", "order uses print"


def opened_stores() -> Iterator[Case]:
    rule = no_part_opens_a_store_that_it_must_not
    for part, forbidden in sorted(NEVER_OPENS.items()):
        for name in sorted(forbidden):
            yield rule, f"{part}.further", f"import {name}", f"{part}.further -> "
    yield (
        rule,
        f"{CORE}.messages.frames",
        f"from {CORE}.orders.repository import Orders",
        f"order_engine.status_dispatcher.main -> {CORE}.messages.publisher -> {CORE}.messages.frames"
        f" -> {CORE}.orders.repository",
    )
    yield (
        rule,
        f"{CORE}.stores.batches",
        f"from {CORE}.messages.publisher import channel",
        f"{CORE}.stores.postgres -> {CORE}.stores.batches -> {CORE}.messages.publisher",
    )
    yield (
        rule,
        f"{CORE}.messages",
        f"from {CORE}.messages.hints import Hints",
        f"{ENGINE}.ws_gateway.app -> {CORE}.messages -> {CORE}.messages.hints",
    )


BROKEN: list[Case] = [
    (imports_are_absolute, GATEWAY, "from . import problems", f"{GATEWAY} imports ."),
    (imports_are_absolute, GATEWAY, "from ..execution import x", f"{GATEWAY} imports ..execution"),
    *forbidden_imports(),
    (
        parts_import_only_what_they_may,
        GATEWAY,
        f"def later():\n    from {ENGINE}.ws_gateway.feeds import Feed",
        f"{GATEWAY} imports {ENGINE}.ws_gateway.feeds",
    ),
    (
        parts_import_only_what_they_may,
        GATEWAY,
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {ENGINE}.local",
        f"{GATEWAY} imports {ENGINE}.local",
    ),
    (parts_import_only_what_they_may, f"{LIBRARY}.worker", f"import {ENGINE}", f"imports {ENGINE}"),
    (
        client_imports_only_the_contract,
        f"{CLIENT}.api",
        f"from {CORE}.domain.order import Order",
        f"{CLIENT}.api imports {CORE}.domain.order",
    ),
    (
        client_imports_only_the_contract,
        f"{CLIENT}.api",
        f"from {CORE}.domain import order, status",
        f"{CLIENT}.api imports {CORE}.domain.order",
    ),
    (
        stores_import_only_errors_of_the_domain,
        f"{CORE}.stores.postgres",
        f"from {CORE}.domain.order import Order",
        f"imports {CORE}.domain.order",
    ),
    (
        stores_import_only_errors_of_the_domain,
        f"{CORE}.stores.postgres",
        f"from {CORE}.messages import frames",
        f"imports {CORE}.messages.frames",
    ),
    *impure_lines(),
    *opened_stores(),
    (
        no_modules_import_each_other,
        f"{CORE}.domain.status",
        f"def later():\n    import {ORDER}",
        f"{CORE}.domain.status imports {ORDER}",
    ),
    (modules_stay_short, GATEWAY, "\n" * 300, f"{GATEWAY} has 300 lines"),
    (functions_stay_short, GATEWAY, "def f():\n" + "    x\n" * 60, f"{GATEWAY}.f has 61 lines"),
]


@pytest.mark.parametrize(("rule", "module", "source", "expected"), BROKEN)
def test_a_broken_source_breaks_its_rule(
    rule: Rule, module: str, source: str, expected: str
) -> None:
    broken = rule({**SOUND, module: source})

    assert any(expected in line for line in broken), broken


def test_a_module_of_299_lines_is_short_enough() -> None:
    assert modules_stay_short({GATEWAY: "\n" * 299}) == []
