"""Parses the JSON of the engine, which has camelCase names."""

from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from order_engine.client.errors import UnexpectedAnswer

Value = TypeVar("Value")

CAMEL_CASE = ConfigDict(alias_generator=to_camel)


def parsed(adapter: TypeAdapter[Value], body: str | bytes) -> Value:
    """The value in `body`; unknown fields are ignored.

    Raises UnexpectedAnswer when a field is missing or malformed, or when the body is not JSON.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"the answer has another format than this client supports: {error}"
        ) from error
