import json
from datetime import datetime
from typing import Any

import pytest

from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.ws_gateway.verified_frames import Published, parsed
from support.builders import ORDER_ID, an_event


def a_text(**changes: Any) -> str:
    return json.dumps(frame(an_event()) | changes)


def without(name: str) -> str:
    fields = frame(an_event())
    del fields[name]
    return json.dumps(fields)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_published_frame_is_read_as_it_was_written(status: OrderStatus) -> None:
    event = an_event(status=status, payload={"errorReason": "no venue — été"})
    text = json.dumps(frame(event))

    assert parsed(text, order_id=ORDER_ID) == Published(
        seq=event.seq,
        is_final=status in FINAL,
        committed_at=datetime.fromisoformat(frame(event)["timestamp"]),
        text=text,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "frame",
        "null",
        "7",
        '"pending"',
        "[]",
        "[1, 2]",
        "{}",
        "\ud800{}",
        '{"status": "pending"',
        "\x00",
        without("orderId"),
        a_text(orderId="019c0000-0000-7000-8000-00000000dead"),
        a_text(orderId=None),
        without("seq"),
        without("status"),
        without("timestamp"),
        a_text(status="lost"),
        a_text(status="PENDING"),
        a_text(status=None),
        a_text(status=["pending"]),
        a_text(status={"pending": 1}),
        a_text(seq="1"),
        a_text(seq=1.0),
        a_text(seq=None),
        a_text(timestamp=None),
        a_text(timestamp=1769860800),
        a_text(timestamp="yesterday"),
        a_text(timestamp=""),
    ],
)
def test_what_no_dispatcher_publishes_is_not_understood(text: str) -> None:
    assert parsed(text, order_id=ORDER_ID) is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        a_text(timestamp="0001-01-01T00:00:00"),
        a_text(seq=True),
    ],
)
def test_what_would_break_a_feed_is_not_understood(text: str) -> None:
    assert parsed(text, order_id=ORDER_ID) is None
