import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from order_engine.execution.stores.statements import as_row, json_value

SEVEN = UUID(int=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    order_id: UUID = SEVEN
    price: Decimal | None = None
    at: datetime | None = None
    payload: Any = None


def encoded(item: Input) -> Any:
    return json.loads(json.dumps(as_row(item), default=json_value))


def test_a_row_has_every_field_of_the_dataclass() -> None:
    assert encoded(Input()) == {
        "order_id": "00000000-0000-0000-0000-000000000007",
        "price": None,
        "at": None,
        "payload": None,
    }


@pytest.mark.parametrize("digits", ["1.50", "0.000000000000000001", "12345678901234567890.5"])
def test_a_decimal_keeps_every_digit(digits: str) -> None:
    assert Decimal(encoded(Input(price=Decimal(digits)))["price"]) == Decimal(digits)


def test_a_time_keeps_its_microseconds_and_its_zone() -> None:
    at = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)

    assert datetime.fromisoformat(encoded(Input(at=at))["at"]) == at


def test_json_inside_a_row_stays_json() -> None:
    assert encoded(Input(payload={"price": 1}))["payload"] == {"price": 1}


@pytest.mark.parametrize("value", [b"bytes", {1}, Input()])
def test_any_other_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="has no form in JSON"):
        encoded(Input(payload=value))
