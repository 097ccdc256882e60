"""Every list of statuses in SQL is one that `order_engine.execution.domain.status` names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from order_engine.execution.domain.status import CANCELLABLE, FINAL, TRANSITIONS, OrderStatus

EXECUTION = Path(__file__).parents[4] / "services/order_engine/execution"
SQL_FILES = sorted((EXECUTION / "migrations/orders").rglob("*.sql"))
PYTHON_FILES = sorted((EXECUTION / "orders").rglob("*.py"))

LIST = re.compile(r"\bIN \(((?:\s*'[a-z_]+',?)+)\)")
WORD = re.compile(r"'([a-z_]+)'")
COMPARED = re.compile(r"\b(?:status|target|source|step)\s*(?:=|<>)\s*'([a-z_]+)'")
STATUSES = frozenset(OrderStatus)
NAMED = {"FINAL": FINAL, "CANCELLABLE": CANCELLABLE, "all statuses": STATUSES}


def sql_texts() -> Iterator[tuple[str, str]]:
    """The name and the text of every migration and every string constant that holds SQL."""
    for path in SQL_FILES:
        yield path.name, path.read_text()
    for path in PYTHON_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.stem}:{node.lineno}", node.value


def lists_of_statuses() -> list[tuple[str, frozenset[str]]]:
    found = [
        (name, frozenset(WORD.findall(words)))
        for name, text in sql_texts()
        for words in LIST.findall(text)
    ]
    return [(name, words) for name, words in found if words & STATUSES]


@pytest.mark.parametrize(("name", "statuses"), lists_of_statuses())
def test_a_list_of_statuses_is_a_named_one(name: str, statuses: frozenset[str]) -> None:
    assert statuses in NAMED.values(), name


@pytest.mark.parametrize(
    ("named", "least"), [("FINAL", 12), ("CANCELLABLE", 1), ("all statuses", 2)]
)
def test_the_lists_are_found(named: str, least: int) -> None:
    """A change of the patterns must not leave the test above without cases."""
    assert [statuses for _, statuses in lists_of_statuses()].count(NAMED[named]) >= least


def test_a_status_that_sql_compares_with_exists() -> None:
    compared = {word for _, text in sql_texts() for word in COMPARED.findall(text)}

    assert compared <= STATUSES
    assert compared >= {"confirmed", "failed", "submitted"}


def test_an_order_is_cancellable_until_it_is_submitted() -> None:
    may_become_submitted = {
        status
        for status in OrderStatus
        if any(reaches(target, OrderStatus.SUBMITTED) for target in TRANSITIONS[status])
    }

    assert may_become_submitted == CANCELLABLE
    assert all(OrderStatus.FAILED in TRANSITIONS[status] for status in CANCELLABLE)


def reaches(status: OrderStatus, wanted: OrderStatus) -> bool:
    return status is wanted or any(reaches(target, wanted) for target in TRANSITIONS[status])
