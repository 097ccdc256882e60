from datetime import UTC, datetime
from decimal import Decimal

import pytest

from order_engine.client.errors import UnexpectedAnswer
from order_engine.client.frames import MESSAGE, Aside, StatusFrame
from order_engine.client.wire import parsed
from order_engine.execution.domain.status import FINAL, OrderStatus
from unit.client.fake_engine import ORDER_ID


def frame_text(*, status: str = "routing", extra: str = "") -> str:
    return (
        f'{{"orderId": "{ORDER_ID}", "seq": 2, "status": "{status}",'
        f' "timestamp": "2024-01-01T00:00:01.250Z"{extra}}}'
    )


def test_the_optional_fields_of_a_frame_default_to_none() -> None:
    assert parsed(MESSAGE, frame_text()) == StatusFrame(
        order_id=ORDER_ID,
        seq=2,
        status=OrderStatus.ROUTING,
        timestamp=datetime(2024, 1, 1, 0, 0, 1, 250_000, tzinfo=UTC),
    )


def test_the_price_of_a_confirmed_order_is_an_exact_decimal() -> None:
    text = frame_text(status="confirmed", extra=', "txHash": "5x", "executedPrice": "1.49500000"')
    frame = parsed(MESSAGE, text)

    assert isinstance(frame, StatusFrame)
    assert (frame.tx_hash, str(frame.executed_price)) == ("5x", "1.49500000")
    assert isinstance(frame.executed_price, Decimal)


def test_a_failed_order_has_its_reason() -> None:
    text = frame_text(
        status="failed", extra=', "errorCode": "no_live_quote", "errorReason": "no venue"'
    )
    frame = parsed(MESSAGE, text)

    assert isinstance(frame, StatusFrame)
    assert (frame.error_code, frame.error_reason) == ("no_live_quote", "no venue")


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_frame_is_final_when_its_status_is_final(status: OrderStatus) -> None:
    frame = parsed(MESSAGE, frame_text(status=status))

    assert isinstance(frame, StatusFrame)
    assert frame.is_final == (status in FINAL)


def test_an_unknown_field_is_ignored() -> None:
    assert parsed(MESSAGE, frame_text(extra=', "mood": "good"')) == parsed(MESSAGE, frame_text())


def test_a_ping_is_not_a_frame() -> None:
    assert parsed(MESSAGE, '{"type": "ping"}') == Aside(type="ping")


@pytest.mark.parametrize("kind", ['"notice"', "null", "7"])
def test_a_message_with_a_type_is_never_a_frame(kind: str) -> None:
    assert isinstance(parsed(MESSAGE, frame_text(extra=f', "type": {kind}')), Aside)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "{}",
        "[]",
        "7",
        "null",
        frame_text(status="lost"),
        frame_text().replace("Z", ""),
    ],
)
def test_an_invalid_message_is_an_error(text: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        parsed(MESSAGE, text)
