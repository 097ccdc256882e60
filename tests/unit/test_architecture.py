"""The rooms stay apart and the domain stays pure: rules over the imports of `services/`.

Each rule is a function over {module: source}. So it is run over our own sources, and over small
broken ones that must turn it red.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[2] / "services"

Sources = Mapping[str, str]
Rule = Callable[[Sources], list[str]]

DEPLOYABLES = {"gateway", "order_worker", "status_dispatcher", "ws_gateway"}
TOOLS = {"client", "cli", "local"}
OURS = {"execution", *DEPLOYABLES, *TOOLS}

# DESIGN section 2, "never opens": neither directly nor through another module.
POSTGRES = {"execution.adapters.postgres", "execution.adapters.orders", "psycopg2", "sqlalchemy"}
QUEUES = {"execution.adapters.queues", "execution.adapters.slot_worker", "rq"}
NEVER_OPENS = {
    "gateway": {"execution.adapters.pubsub"},
    "order_worker": {"execution.adapters.pubsub"},
    "status_dispatcher": POSTGRES,
    "ws_gateway": QUEUES,
    "execution.migrations": {"redis", *QUEUES},
}

PURE_MODULES = {
    "abc",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "itertools",
    "math",
    "operator",
    "types",
    "typing",
    "uuid",
}
IMPURE_NAMES = {"now", "utcnow", "today", "uuid1", "uuid4", "getnode"}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "__import__"}

LINES_END = 300


def read_sources(root: Path) -> dict[str, str]:
    """The source of each module under `root`; a package under its own name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text()
        )
        for path in sorted(root.rglob("*.py"))
    }


# What a module imports


def imported(module: str, sources: Sources) -> list[str]:
    """The modules that the source names, at whatever depth and under whatever condition."""
    names: list[str] = []
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            parts = [f"{origin}.{alias.name}" for alias in node.names]
            names += [part if part in sources else origin for part in parts]
    return names


def loaded(module: str, sources: Sources) -> Iterator[str]:
    """What importing `module` loads at once: what it names, and the packages around that."""
    for name in (module, *imported(module, sources)):
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def chains(room: str, sources: Sources) -> dict[str, list[str]]:
    """Every module that the room's modules load, with a shortest chain of imports that leads there."""
    found = {module: [module] for module in sources if is_in(module, room)}
    ahead = list(found)
    for module in ahead:  # grows while it is walked
        for name in loaded(module, sources) if module in sources else ():
            if name not in found:
                found[name] = [*found[module], name]
                ahead.append(name)
    return found


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str:
    return module.partition(".")[0]


# The rules: each returns what breaks it, nothing when it holds


def imports_are_absolute(sources: Sources) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in sources
        for name in imported(module, sources)
        if name.startswith(".")
    ]


def rooms_stay_apart(sources: Sources) -> list[str]:
    """A deployable knows the core and itself, the core only itself."""
    allowed = {"execution": {"execution"}} | {room: {room, "execution"} for room in DEPLOYABLES}
    return [
        f"{module} imports {name}"
        for module in sources
        if room_of(module) in allowed
        for name in imported(module, sources)
        if room_of(name) in OURS - allowed[room_of(module)]
    ]


def client_knows_only_the_statuses(sources: Sources) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in sources
        if room_of(module) == "client"
        for name in imported(module, sources)
        if room_of(name) in OURS - {"client"} and name != "execution.domain.status"
    ]


def domain_is_pure(sources: Sources) -> list[str]:
    return [
        f"{module} {what}"
        for module in sources
        if is_in(module, "execution.domain")
        for what in _impurities(module, sources)
    ]


def _impurities(module: str, sources: Sources) -> Iterator[str]:
    for name in imported(module, sources):
        if name not in PURE_MODULES and not is_in(name, "execution.domain"):
            yield f"imports {name}"
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Attribute) and node.attr in IMPURE_NAMES:
            yield f"uses .{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"uses {a.name}" for a in node.names if a.name in IMPURE_NAMES)
        elif isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            yield f"uses {node.id}"


def nobody_opens_what_is_not_theirs(sources: Sources) -> list[str]:
    return [
        " -> ".join(chain)
        for room, forbidden in NEVER_OPENS.items()
        for name, chain in chains(room, sources).items()
        if name in forbidden
    ]


def modules_end_in_time(sources: Sources) -> list[str]:
    lines = {module: len(source.splitlines()) for module, source in sources.items()}
    return [f"{module} has {count} lines" for module, count in lines.items() if count >= LINES_END]


RULES = [
    imports_are_absolute,
    rooms_stay_apart,
    client_knows_only_the_statuses,
    domain_is_pure,
    nobody_opens_what_is_not_theirs,
    modules_end_in_time,
]


# Our own sources


@pytest.fixture(scope="module")
def services() -> Sources:
    return read_sources(SERVICES)


@pytest.mark.parametrize("rule", RULES)
def test_the_services_keep(rule: Rule, services: Sources) -> None:
    assert rule(services) == []


@pytest.mark.parametrize("room", sorted({*OURS, *NEVER_OPENS, "execution.domain"}))
def test_every_room_that_a_rule_names_is_there(room: str, services: Sources) -> None:
    assert room in services


@pytest.mark.parametrize(
    "name", sorted({name for forbidden in NEVER_OPENS.values() for name in forbidden})
)
def test_what_some_never_open_others_do(name: str, services: Sources) -> None:
    assert any(name in chains(room, services) for room in DEPLOYABLES)


# Broken sources

SOUND = {
    "execution": "",
    "execution.domain": "",
    "execution.domain.status": "from enum import StrEnum",
    "execution.domain.order": "from execution.domain.status import OrderStatus",
    "execution.adapters": "",
    "execution.adapters.batching": "import threading",
    "execution.adapters.frames": "from execution.domain.order import Order",
    "execution.adapters.postgres": "import psycopg2\nfrom execution.adapters import batching",
    "execution.adapters.orders": "from execution.adapters.postgres import Row",
    "execution.adapters.orders.moves": "",
    "execution.adapters.pubsub": "from execution.adapters import frames",
    "execution.adapters.queues": "import rq",
    "execution.adapters.slot_worker": "from execution.adapters import queues",
    "execution.migrations": "import psycopg2",
    "gateway": "",
    "gateway.api": "from execution.adapters import orders, queues",
    "order_worker": "",
    "order_worker.main": "from execution.adapters import orders, slot_worker",
    "status_dispatcher": "",
    "status_dispatcher.main": "from execution.adapters import pubsub, slot_worker",
    "ws_gateway": "",
    "ws_gateway.api": "from execution.adapters import orders, pubsub",
    "client": "from execution.domain.status import OrderStatus",
    "cli": "import client",
    "local": "import gateway.api, ws_gateway.api",
}


@pytest.mark.parametrize("rule", RULES)
def test_sound_sources_break_no_rule(rule: Rule) -> None:
    assert rule(SOUND) == []


BROKEN: list[tuple[Rule, str, str, str]] = [
    (imports_are_absolute, "gateway.api", "from . import problems", "gateway.api imports ."),
    (
        imports_are_absolute,
        "gateway.api",
        "from ..execution import logs",
        "gateway.api imports ..execution",
    ),
    *(
        (rooms_stay_apart, f"{room}.main", f"import {other}.main", f"{room}.main imports {other}")
        for room in sorted(DEPLOYABLES)
        for other in sorted(OURS - {room, "execution"})
    ),
    *(
        (rooms_stay_apart, "execution.logs", f"from {room} import x", f"logs imports {room}")
        for room in sorted(OURS - {"execution"})
    ),
    (
        rooms_stay_apart,
        "gateway.api",
        "def later():\n    from ws_gateway.feeds import Feed",
        "gateway.api imports ws_gateway.feeds",
    ),
    (
        rooms_stay_apart,
        "gateway.api",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import local",
        "gateway.api imports local",
    ),
    (
        client_knows_only_the_statuses,
        "client.api",
        "from execution.domain.order import Order",
        "client.api imports execution.domain.order",
    ),
    (
        client_knows_only_the_statuses,
        "client.api",
        "from execution.domain import order, status",
        "client.api imports execution.domain.order",
    ),
    (client_knows_only_the_statuses, "client.api", "import gateway.api", "imports gateway.api"),
    *(
        (domain_is_pure, "execution.domain.order", f"import {name}", f"order imports {name}")
        for name in (
            *("os", "socket", "asyncio", "logging", "time", "random", "threading", "subprocess"),
            *("pathlib", "secrets", "structlog", "redis", "psycopg2", "pydantic"),
            *("execution.adapters.frames", "execution.settings"),
        )
    ),
    (domain_is_pure, "execution.domain.order", "from time import time", "order imports time"),
    (domain_is_pure, "execution.domain.order", "datetime.now(UTC)", "order uses .now"),
    (domain_is_pure, "execution.domain.order", "clock = datetime.utcnow", "order uses .utcnow"),
    (domain_is_pure, "execution.domain.order", "date.today()", "order uses .today"),
    (domain_is_pure, "execution.domain.order", "from uuid import uuid4", "order uses uuid4"),
    (domain_is_pure, "execution.domain.order", "uuid.uuid4()", "order uses .uuid4"),
    (domain_is_pure, "execution.domain.order", "open('orders')", "order uses open"),
    (domain_is_pure, "execution.domain.order", "print('moved')", "order uses print"),
    *(
        (
            nobody_opens_what_is_not_theirs,
            f"{room}.further",
            f"import {name}",
            f"{room}.further -> ",
        )
        for room, forbidden in sorted(NEVER_OPENS.items())
        for name in sorted(forbidden)
    ),
    (
        nobody_opens_what_is_not_theirs,
        "execution.adapters.frames",
        "from execution.adapters.orders import Orders",
        "status_dispatcher.main -> execution.adapters.pubsub -> execution.adapters.frames"
        " -> execution.adapters.orders",
    ),
    (
        nobody_opens_what_is_not_theirs,
        "status_dispatcher.main",
        "import execution.adapters.orders.moves",
        "status_dispatcher.main -> execution.adapters.orders",
    ),
    (
        nobody_opens_what_is_not_theirs,
        "execution.adapters.batching",
        "from execution.adapters.pubsub import channel",
        "gateway.api -> execution.adapters.orders -> execution.adapters.postgres"
        " -> execution.adapters.batching -> execution.adapters.pubsub",
    ),
    (
        nobody_opens_what_is_not_theirs,
        "execution.adapters",
        "from execution.adapters.queues import Hints",
        "ws_gateway.api -> execution.adapters -> execution.adapters.queues",
    ),
    (modules_end_in_time, "gateway.api", "\n" * 300, "gateway.api has 300 lines"),
]


@pytest.mark.parametrize(("rule", "module", "source", "said"), BROKEN)
def test_a_broken_source_turns_its_rule_red(
    rule: Rule, module: str, source: str, said: str
) -> None:
    broken = rule({**SOUND, module: source})

    assert any(said in line for line in broken), broken


def test_a_module_of_299_lines_ends_in_time() -> None:
    assert modules_end_in_time({"gateway.api": "\n" * 299}) == []
