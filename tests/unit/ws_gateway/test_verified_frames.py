import json
from datetime import datetime
from typing import Any

import pytest

from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.ws_gateway.verified_frames import Published, parsed
from support.builders import ORDER_ID, an_event


def frame_text(**changes: Any) -> str:
    return json.dumps(frame(an_event()) | changes)


def text_without(name: str) -> str:
    fields = frame(an_event())
    del fields[name]
    return json.dumps(fields)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_published_frame_is_parsed_and_its_text_is_kept(status: OrderStatus) -> None:
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
        text_without("orderId"),
        frame_text(orderId="019c0000-0000-7000-8000-00000000dead"),
        frame_text(orderId=None),
        text_without("seq"),
        text_without("status"),
        text_without("timestamp"),
        frame_text(status="lost"),
        frame_text(status="PENDING"),
        frame_text(status=None),
        frame_text(status=["pending"]),
        frame_text(status={"pending": 1}),
        frame_text(seq="1"),
        frame_text(seq=1.0),
        frame_text(seq=None),
        frame_text(timestamp=None),
        frame_text(timestamp=1769860800),
        frame_text(timestamp="yesterday"),
        frame_text(timestamp=""),
    ],
)
def test_an_invalid_frame_is_not_parsed(text: str) -> None:
    assert parsed(text, order_id=ORDER_ID) is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        frame_text(timestamp="0001-01-01T00:00:00"),
        frame_text(seq=True),
    ],
)
def test_a_frame_that_would_break_a_feed_is_not_parsed(text: str) -> None:
    assert parsed(text, order_id=ORDER_ID) is None
