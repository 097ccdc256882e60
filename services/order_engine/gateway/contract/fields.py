"""The texts that requests hold: what each must look like, to those who check and to OpenAPI."""

import re
import sys
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from order_engine.execution.domain.accounts import ACCOUNT_PATTERN, LABEL_CHARS_MAX

# ASCII digits, no sign and no exponent: Decimal alone would take 1e3, 1_000 and full-width digits.
# No leading zeros either: an amount is told again as it was sent, and a numeric would lose them.
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII)
CONTROL = r"\x00-\x1f\x7f-\x9f"
# what Unicode lets a font leave out (Default_Ignorable_Code_Point), line ends and the marks of
# annotations: with them, two tokens could look like one
INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    # not escaped: Python and ECMA-262 have no escape in common beyond four digits
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
PLANES = range(0, sys.maxunicode + 1, 0x1_0000)
NO_CHARACTER = r"\ufdd0-\ufdef" + "".join(chr(n + 0xFFFE) + chr(n + 0xFFFF) for n in PLANES)
UNWANTED = CONTROL + INVISIBLE + NO_CHARACTER
BLANK = r"\x20\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
TOKEN = re.compile(rf"[^{UNWANTED}{BLANK}]([^{UNWANTED}]*[^{UNWANTED}{BLANK}])?")
LABEL = re.compile(rf"[^{UNWANTED}]*")
ACCOUNT = re.compile(ACCOUNT_PATTERN)
KEY = re.compile(r"[\x21-\x7e]{1,128}")
KEY_ID = re.compile(r"[0-9a-f]{16}")


def _amount(text: str) -> str:
    if not AMOUNT.fullmatch(text):
        raise ValueError("must be a decimal such as 100 or 0.5: 20 digits, then up to 18 decimals")
    return text


def _positive(text: str) -> str:
    if not Decimal(text):
        raise ValueError("must be above zero")
    return text


def _token(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise ValueError("must be without control or invisible characters and outer blanks")
    return text


def _key(text: str) -> str:
    if not KEY.fullmatch(text):
        raise ValueError("must be 1 to 128 visible ASCII characters")
    return text


def _account(text: str) -> str:
    if not ACCOUNT.fullmatch(text):
        raise ValueError("must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")
    return text


def _label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError("must be without control or invisible characters")
    return text


def described_by(pattern: re.Pattern[str]) -> dict[str, Any]:
    """What OpenAPI says of a text that has to match the pattern as a whole."""
    return {"pattern": f"^({pattern.pattern})$"}


Token = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="A token's symbol or mint, without blanks around it and without what cannot be"
        " seen in it: controls, Unicode's Default_Ignorable_Code_Point, line ends, non-characters.",
        json_schema_extra=described_by(TOKEN),
    ),
    AfterValidator(_token),
]
Account = Annotated[str, Field(json_schema_extra=described_by(ACCOUNT)), AfterValidator(_account)]
Amount = Annotated[
    str, Field(max_length=39, json_schema_extra=described_by(AMOUNT)), AfterValidator(_amount)
]
Positive = Annotated[
    Amount, Field(json_schema_extra={"not": {"pattern": "^[0.]*$"}}), AfterValidator(_positive)
]
Key = Annotated[str, Field(json_schema_extra=described_by(KEY)), AfterValidator(_key)]
Label = Annotated[
    str,
    Field(max_length=LABEL_CHARS_MAX, json_schema_extra=described_by(LABEL)),
    AfterValidator(_label),
]
