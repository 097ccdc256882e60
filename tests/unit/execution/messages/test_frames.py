from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import FRAME_FIELDS, frame, timestamp
from support.builders import NOON, ORDER_ID, an_event


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 999, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 1000, tzinfo=UTC), "2026-01-31T12:00:00.001Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 45_678, tzinfo=UTC), "2026-01-31T12:00:00.045Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_cut_to_milliseconds_in_utc(time: datetime, text: str) -> None:
    assert timestamp(time) == text


def test_a_time_of_another_zone_is_shown_in_utc() -> None:
    berlin = timezone(timedelta(hours=2))

    assert timestamp(datetime(2026, 6, 1, 1, tzinfo=berlin)) == "2026-05-31T23:00:00.000Z"


def test_a_frame_names_order_seq_status_and_time() -> None:
    event = an_event(status=OrderStatus.ROUTING, seq=2, occurred_at=NOON)

    assert frame(event) == {
        "orderId": str(ORDER_ID),
        "seq": 2,
        "status": "routing",
        "timestamp": "2026-01-31T12:00:00.000Z",
    }


@pytest.mark.parametrize("name", FRAME_FIELDS)
def test_a_frame_omits_a_field_without_a_value(name: str) -> None:
    assert name not in frame(an_event(payload={}))


@pytest.mark.parametrize("name", FRAME_FIELDS)
def test_a_frame_contains_a_field_with_a_value(name: str) -> None:
    assert frame(an_event(payload={name: "known"}))[name] == "known"


def test_a_frame_has_only_these_fields_of_a_payload() -> None:
    assert set(FRAME_FIELDS) == {"txHash", "executedPrice", "errorReason", "errorCode"}


@pytest.mark.parametrize(
    "payload",
    [
        {"dexType": "raydium", "quotes": [{"price": "1.5"}]},
        {"amountOut": "149.625"},
        {"orderId": "another", "seq": 99, "status": "failed", "timestamp": "never"},
    ],
)
def test_other_fields_of_a_payload_are_not_in_the_frame(payload: dict[str, Any]) -> None:
    assert frame(an_event(payload=payload)) == frame(an_event(payload={}))
