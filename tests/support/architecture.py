"""Rules over the imports of `services/`. Each is a function over {module: source} that returns what
breaks it, so that it can run over our sources and over small broken ones.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from order_engine.execution import deployables

Sources = Mapping[str, str]
Rule = Callable[[Sources], list[str]]

ENGINE = "order_engine"
CORE = f"{ENGINE}.execution"
SERVER = f"{ENGINE}.serving"
LIBRARY = "rq_slots"
DEPLOYABLES = tuple(  # without `migrate`, which is a part of the core
    deployable.module.rpartition(".")[0]
    for deployable in deployables.DEPLOYABLES
    if not deployable.module.startswith(f"{CORE}.")
)
CLIENT = f"{ENGINE}.client"
TOOLS = (f"{ENGINE}.cli", f"{ENGINE}.local")
PARTS = (LIBRARY, SERVER, CORE, *DEPLOYABLES, CLIENT, *TOOLS)

# Which parts each part may import, itself apart.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    LIBRARY: frozenset(),
    SERVER: frozenset(),
    CORE: frozenset({LIBRARY}),
    **{part: frozenset({LIBRARY, SERVER, CORE}) for part in DEPLOYABLES},
    CLIENT: frozenset({CORE}),
    **{part: frozenset(PARTS) for part in TOOLS},
}
CLIENT_MAY_IMPORT = {f"{CORE}.domain.status", f"{CORE}.messages.stream_contract"}
STORES_MAY_IMPORT = {f"{CORE}.domain.errors"}  # of the domain

# What no deployable loads, directly or through another module, without the URL of the store.
POSTGRES = {f"{CORE}.stores.postgres", f"{CORE}.orders.repository", "psycopg2"}
QUEUES = {f"{CORE}.messages.hints", f"{LIBRARY}.worker", f"{LIBRARY}.enqueue", "rq"}
NEEDS_URL: Mapping[str, set[str]] = {
    "DATABASE_URL": POSTGRES,
    "REDIS_URL": {"redis"},
    "REDIS_QUEUE_URL": QUEUES,
    "REDIS_PUBSUB_URL": {f"{CORE}.messages.publisher"},
}
NEVER_OPENS: Mapping[str, set[str]] = {
    deployable.module.rpartition(".")[0]: {
        module
        for url, modules in NEEDS_URL.items()
        if url not in deployable.urls
        for module in modules
    }
    for deployable in deployables.DEPLOYABLES
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

LINES_MAX = 299
FUNCTION_LINES_MAX = 60


def read_sources(root: Path) -> dict[str, str]:
    """The source of each module under `root`; a package has its own name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text()
        )
        for path in sorted(root.rglob("*.py"))
    }


# What a module imports


def imported(module: str, sources: Sources) -> list[str]:
    """The modules that the source names, at any depth and under any condition."""
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
    """What importing `module` loads: the modules that it names, and the packages around them."""
    for name in (module, *imported(module, sources)):
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def chains(part: str, sources: Sources) -> dict[str, list[str]]:
    """Every module that the part loads, with a shortest chain of imports that leads to it."""
    found = {module: [module] for module in sources if is_in(module, part)}
    queue = list(found)
    for module in queue:  # grows during the loop
        for name in loaded(module, sources) if module in sources else ():
            if name not in found:
                found[name] = [*found[module], name]
                queue.append(name)
    return found


def is_in(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def part_of(module: str) -> str | None:
    """The part of our code that a module belongs to; None for a module that is not ours."""
    if module.partition(".")[0] not in {ENGINE, LIBRARY}:
        return None
    return next((part for part in PARTS if is_in(module, part)), ENGINE)


# The rules


def imports_are_absolute(sources: Sources) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in sources
        for name in imported(module, sources)
        if name.startswith(".")
    ]


def parts_import_only_what_they_may(sources: Sources) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in sources
        if (part := part_of(module)) is not None and part in MAY_IMPORT
        for name in imported(module, sources)
        if part_of(name) not in {None, part, *MAY_IMPORT[part]}
    ]


def client_imports_only_the_contract(sources: Sources) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in sources
        if is_in(module, CLIENT)
        for name in imported(module, sources)
        if is_in(name, CORE) and name not in CLIENT_MAY_IMPORT
    ]


def stores_import_only_errors_of_the_domain(sources: Sources) -> list[str]:
    siblings = tuple(f"{CORE}.{name}" for name in ("orders", "accounts", "messages", "venues"))
    return [
        f"{module} imports {name}"
        for module in sources
        if is_in(module, f"{CORE}.stores")
        for name in imported(module, sources)
        if (is_in(name, f"{CORE}.domain") and name not in STORES_MAY_IMPORT)
        or any(is_in(name, sibling) for sibling in siblings)
    ]


def domain_is_pure(sources: Sources) -> list[str]:
    return [
        f"{module} {what}"
        for module in sources
        if is_in(module, f"{CORE}.domain")
        for what in _impurities(module, sources)
    ]


def _impurities(module: str, sources: Sources) -> Iterator[str]:
    for name in imported(module, sources):
        if name not in PURE_MODULES and not is_in(name, f"{CORE}.domain"):
            yield f"imports {name}"
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Attribute) and node.attr in IMPURE_NAMES:
            yield f"uses .{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"uses {a.name}" for a in node.names if a.name in IMPURE_NAMES)
        elif isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            yield f"uses {node.id}"


def no_part_opens_a_store_that_it_must_not(sources: Sources) -> list[str]:
    return [
        " -> ".join(chain)
        for part, forbidden in NEVER_OPENS.items()
        for name, chain in chains(part, sources).items()
        if name in forbidden
    ]


def no_modules_import_each_other(sources: Sources) -> list[str]:
    """Imports inside a function or under TYPE_CHECKING count too."""
    needs = {
        module: {name for name in imported(module, sources) if name in sources}
        for module in sources
    }
    while free := {module for module, names in needs.items() if not names & needs.keys()}:
        needs = {module: names for module, names in needs.items() if module not in free}
    return [
        f"{module} imports {', '.join(sorted(needs[module] & needs.keys()))}" for module in needs
    ]


def modules_stay_short(sources: Sources) -> list[str]:
    lines = {module: len(source.splitlines()) for module, source in sources.items()}
    return [f"{module} has {count} lines" for module, count in lines.items() if count > LINES_MAX]


def functions_stay_short(sources: Sources) -> list[str]:
    return [
        f"{module}.{node.name} has {length} lines"
        for module, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


RULES: tuple[Rule, ...] = (
    imports_are_absolute,
    parts_import_only_what_they_may,
    client_imports_only_the_contract,
    stores_import_only_errors_of_the_domain,
    domain_is_pure,
    no_part_opens_a_store_that_it_must_not,
    no_modules_import_each_other,
    modules_stay_short,
    functions_stay_short,
)
