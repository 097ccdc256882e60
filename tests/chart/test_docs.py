"""The documents name files that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "charts/*/README.md", "services/*/README.md")
    for path in ROOT.glob(pattern)
)
TOP = ("services", "charts", "docker", "tests", "scripts", "docs", "requirements", ".ci")
LINK = re.compile(r"\]\(([^)#\s]+)[^)\s]*\)")
FILE = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|mjs|lua|md|yaml|json|toml|lock|tpl|sh))`")


def paths() -> Iterator[str]:
    for top in TOP:
        for path in (ROOT / top).rglob("*"):
            yield f"/{path.relative_to(ROOT)}"


@pytest.mark.parametrize("document", [str(document) for document in DOCUMENTS])
def test_every_link_leads_to_a_file(document: str) -> None:
    path = ROOT / document
    targets = [t for t in LINK.findall(path.read_text()) if ":" not in t]

    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_every_file_named_in_a_document_exists() -> None:
    known = "\n".join(paths()) + "\n"
    named = {
        (str(document), name)
        for document in DOCUMENTS
        if document.name != "CHANGELOG.md"  # names files of earlier versions, too
        for name in FILE.findall((ROOT / document).read_text())
    }

    assert named
    assert [
        (document, name)
        for document, name in sorted(named)
        if f"/{name.removeprefix('./')}\n" not in known and not name.startswith(("../", "/"))
    ] == []
