"""Texts that clients can see use plain English: none of them has a banned word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from order_engine.gateway.contract.asyncapi import document as asyncapi_document
from order_engine.gateway.contract.field_errors import MESSAGES
from order_engine.gateway.contract.openapi import document as openapi_document
from order_engine.gateway.contract.problems import PROBLEMS, UNEXPECTED

BANNED = (
    *("told", "tell", "tells", "said", "whose", "whoever", "anew", "moment", "moments"),
    *("mend", "mends", "mended", "unite", "untold", "luck", "nobody", "somebody", "none of ours"),
    *("for ever", "so long", "so many", "by hand", "door", "doors", "room", "rooms", "a look"),
)
BANNED_WORD = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)

SOURCES = sorted((Path(__file__).parents[3] / "services").rglob("gateway/**/*.py"))
DESCRIBING = {"description", "summary", "title"}


def banned_words(text: str) -> list[str]:
    return [found[0].lower() for found in BANNED_WORD.finditer(text)]


def described(part: Any) -> Iterator[str]:
    """Every description, summary and title of a document."""
    if isinstance(part, dict):
        for name, inner in part.items():
            if name in DESCRIBING and isinstance(inner, str):
                yield inner
            yield from described(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from described(inner)


def constants(tree: ast.AST) -> Iterator[str]:
    """All texts of several words but docstrings: rules, messages and details kept in names."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and " " in node.value
        ):
            yield node.value


def client_texts() -> dict[str, list[str]]:
    """The texts by where they come from."""
    sources = {path.name: list(constants(ast.parse(path.read_text()))) for path in SOURCES}
    return sources | {
        "titles": [kind.title for kind in (*PROBLEMS.values(), UNEXPECTED)],
        "messages": list(MESSAGES.values()),
        "openapi": list(described(openapi_document(is_open=False))),
        "asyncapi": list(described(asyncapi_document())),
    }


@pytest.mark.parametrize(("origin", "texts"), client_texts().items(), ids=client_texts().keys())
def test_texts_for_clients_have_no_banned_words(origin: str, texts: list[str]) -> None:
    wrong = {text: banned_words(text) for text in texts if banned_words(text)}

    assert wrong == {}


@pytest.mark.parametrize("origin", ["problems.py", "titles", "messages", "openapi", "asyncapi"])
def test_the_texts_are_found(origin: str) -> None:
    assert client_texts()[origin]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The order is told again as it was sent", ["told"]),
        ("Whoever knocks at the Door waits a moment", ["whoever", "door", "moment"]),
        ("later there is room for so many", ["room", "so many"]),
        ("the chatroom recommends an indoor retelling", []),
        ("must be a string", []),
    ],
)
def test_banned_words_are_found_as_whole_words(text: str, found: list[str]) -> None:
    assert banned_words(text) == found


def test_texts_are_read_from_sources_and_docstrings_are_not() -> None:
    source = '"""A door."""\nraise Refused(f"tell {name} the reason")\nRULE = "anew each time"\n'

    assert list(constants(ast.parse(source))) == ["anew each time", "tell ", " the reason"]


def test_descriptions_are_read_at_any_depth() -> None:
    document = {"info": {"description": "one"}, "tags": [{"summary": "two"}, {"x": "three"}]}

    assert list(described(document)) == ["one", "two"]
