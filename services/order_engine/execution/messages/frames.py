"""Frames: an event as JSON for clients."""

import json
from datetime import UTC, datetime
from typing import Any

from order_engine.execution.domain.event import OrderEvent

Frame = dict[str, Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode

# The fields that a frame has of an event's payload. The history of an order shows all fields.
FRAME_FIELDS = ("txHash", "executedPrice", "errorReason", "errorCode")


def frame(event: OrderEvent) -> Frame:
    """The frame of an event. Fields without a value are absent; times are UTC, in milliseconds."""
    return {
        "orderId": str(event.order_id),
        "seq": event.seq,
        "status": event.status,
        "timestamp": timestamp(event.occurred_at),
        **{name: event.payload[name] for name in FRAME_FIELDS if name in event.payload},
    }


def frame_text(event: OrderEvent) -> str:
    """The frame as JSON, as clients receive it."""
    return _encode(frame(event))


def timestamp(time: datetime) -> str:
    """2026-01-31T12:00:00.000Z"""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
