"""`.env.example` is the page where a user looks settings up, so it has to name all of them."""

import inspect
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from order_engine.execution import settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
SETTING = re.compile(r"#([A-Z_]+)=(.*)")

FIELDS: dict[str, FieldInfo] = {
    name.upper(): field
    for _, kind in inspect.getmembers(settings, inspect.isclass)
    if issubclass(kind, BaseSettings)
    for name, field in kind.model_fields.items()
}
EXAMPLES: dict[str, str] = {
    match[1]: match[2]
    for line in EXAMPLE.read_text().splitlines()
    if (match := SETTING.match(line))
}


def test_the_example_names_every_setting_and_no_other() -> None:
    assert EXAMPLES.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_example_shows_the_default(name: str) -> None:
    assert EXAMPLES.get(name) == written(FIELDS[name])


def test_a_copy_of_the_example_changes_nothing() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line]

    assert [line for line in lines if not line.startswith("#")] == []


def written(field: FieldInfo) -> str:
    """The default as it stands in the environment; nothing for a required setting."""
    if field.is_required() or field.default in (None, ()):
        return ""
    return str(field.default)
