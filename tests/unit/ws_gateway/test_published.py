import json
from typing import Any

import pytest

from execution.adapters.frames import frame
from execution.domain.status import OrderStatus
from support.builders import an_event
from ws_gateway.feeds import parsed


def a_message(**changes: Any) -> bytes:
    return json.dumps(frame(an_event()) | changes).encode()


def without(name: str) -> bytes:
    fields = frame(an_event())
    del fields[name]
    return json.dumps(fields).encode()


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_published_frame_is_read_as_it_was_written(status: OrderStatus) -> None:
    published = frame(an_event(status=status, payload={"errorReason": "no venue — été"}))

    assert parsed(json.dumps(published).encode()) == published


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"frame",
        b"null",
        b"7",
        b'"pending"',
        b"[]",
        b"[1, 2]",
        b"{}",
        b"\xff\xfe{}",
        b'{"status": "pending"',
        b"\x00",
        without("seq"),
        without("status"),
        without("timestamp"),
        a_message(status="lost"),
        a_message(status="PENDING"),
        a_message(status=None),
        a_message(status=["pending"]),
        a_message(status={"pending": 1}),
        a_message(seq="1"),
        a_message(seq=1.0),
        a_message(seq=None),
        a_message(timestamp=None),
        a_message(timestamp=1769860800),
        a_message(timestamp="yesterday"),
        a_message(timestamp=""),
    ],
)
def test_what_no_dispatcher_publishes_is_not_understood(message: bytes) -> None:
    assert parsed(message) is None


@pytest.mark.parametrize(
    "message",
    [
        b"[" * 100_000,
        a_message(timestamp="0001-01-01T00:00:00"),
        a_message(seq=True),
    ],
)
def test_what_would_break_a_feed_is_not_understood(message: bytes) -> None:
    assert parsed(message) is None
