"""The string fields of requests: one rule each, for the check and for the OpenAPI document."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from order_engine.execution.domain.accounts import ACCOUNT_PATTERN, LABEL_CHARS_MAX

# ASCII digits without sign or exponent: Decimal alone would also accept 1e3, 1_000 and full-width
# digits. No leading zeros: PostgreSQL would drop them, and responses repeat an amount as it was sent.
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII)
TOKEN = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,63}")
LABEL = re.compile(r"[ -~]*")
ACCOUNT = re.compile(ACCOUNT_PATTERN)
KEY = re.compile(r"[\x21-\x7e]{1,128}")
KEY_RULE = "must be 1 to 128 printable ASCII characters without spaces"
KEY_ID = re.compile(r"[0-9a-f]{16}")


def _matches(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _positive(text: str) -> str:
    if not Decimal(text):
        raise ValueError("must be above zero")
    return text


def described_by(pattern: re.Pattern[str]) -> dict[str, Any]:
    """The JSON Schema of a string that must match the whole pattern."""
    return {"pattern": f"^({pattern.pattern})$"}


Token = Annotated[
    str,
    Field(
        description="A token's symbol or mint address: 1 to 64 of `A-Z a-z 0-9 . _ $ -`, starting"
        " with a letter, a digit or `$`.",
        json_schema_extra=described_by(TOKEN),
    ),
    _matches(TOKEN, "must be 1 to 64 of A-Z a-z 0-9 . _ $ - and start with a letter, a digit or $"),
]
Account = Annotated[
    str,
    Field(json_schema_extra=described_by(ACCOUNT)),
    _matches(ACCOUNT, "must be 1 to 64 of a-z 0-9 . _ - and start with a letter or digit"),
]
Amount = Annotated[
    str,
    Field(max_length=39, json_schema_extra=described_by(AMOUNT)),
    _matches(AMOUNT, "must be a decimal such as 100 or 0.5: up to 20 digits and 18 decimals"),
]
Positive = Annotated[
    Amount, Field(json_schema_extra={"not": {"pattern": "^[0.]*$"}}), AfterValidator(_positive)
]
Key = Annotated[str, Field(json_schema_extra=described_by(KEY)), _matches(KEY, KEY_RULE)]
Label = Annotated[
    str,
    Field(max_length=LABEL_CHARS_MAX, json_schema_extra=described_by(LABEL)),
    _matches(LABEL, "must be printable ASCII characters"),
]
