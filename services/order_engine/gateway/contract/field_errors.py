"""What is wrong with a field, in words of the API: pydantic's own speak of Python."""

from collections.abc import Mapping
from typing import Any

# by pydantic's name of the fault, or by the class where an instance of one was wanted
WORDS: Mapping[str, str] = {
    "missing": "is needed",
    "extra_forbidden": "is not known here",
    "string_type": "must be a string",
    "string_unicode": "must be whole characters: half of a pair is none",
    "string_too_short": "must not be empty",
    "string_too_long": "must have {max_length} characters at most",
    "Decimal": "must be a number",
    "decimal_max_places": "must have {decimal_places} decimals at most",
    "decimal_max_digits": "must have {max_digits} digits at most",
    "finite_number": "must be a number of fewer digits",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "int_parsing_size": "must be a number of fewer digits",
    "Sequence": "must be an array",
    "sequence_str": "must be an array",
    "too_short": "must not be empty",
    "too_long": "must have {max_length} items at most",
    "enum": "must be {expected}",
    "value_error": "{error}",
}


def said(fault: Any) -> str:
    """Of one of a ValidationError's; pydantic's words where there are no others."""
    facts = fault.get("ctx", {})
    words = WORDS.get(facts.get("class", fault["type"]))
    return str(fault["msg"]) if words is None else words.format_map(facts)
