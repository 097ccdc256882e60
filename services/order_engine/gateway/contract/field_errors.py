"""Messages for invalid fields; pydantic's own mention Python types."""

from collections.abc import Mapping
from typing import Any

# by pydantic's error type, or by the class when an instance of one was expected
MESSAGES: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "string_type": "must be a string",
    "string_unicode": "contains an unpaired surrogate",
    "string_too_long": "must have at most {max_length} characters",
    "Decimal": "must be a number",
    "decimal_max_places": "must have at most {decimal_places} decimals",
    "decimal_max_digits": "must have at most {max_digits} digits",
    "finite_number": "has too many digits",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_parsing_size": "has too many digits",
    "Sequence": "must be an array",
    "sequence_str": "must be an array",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "enum": "must be {expected}",
    "value_error": "{error}",
}


def describe(error: Any) -> str:
    """The message for one error of a ValidationError; pydantic's own when there is no other."""
    context = error.get("ctx", {})
    message = MESSAGES.get(context.get("class", error["type"]))
    return str(error["msg"]) if message is None else message.format_map(context)
