"""From the engine's JSON, camelCase, to the client's values."""

from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from order_engine.client.errors import UnexpectedAnswer

Value = TypeVar("Value")

CAMEL_CASE = ConfigDict(alias_generator=to_camel)


def parsed(adapter: TypeAdapter[Value], body: str | bytes) -> Value:
    """The value in `body`, fields that this client does not know left out.

    Raises UnexpectedAnswer when a field is missing or malformed, or when it is no JSON at all.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise UnexpectedAnswer(f"not what this client understands: {error}") from error
