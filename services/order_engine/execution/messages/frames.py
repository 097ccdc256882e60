"""What clients see of an event."""

from datetime import UTC, datetime
from typing import Any

from order_engine.execution.domain.event import OrderEvent

Frame = dict[str, Any]

# Carried from an event's payload into its frame; everything else of a payload stays in the history.
FRAME_FIELDS = ("txHash", "executedPrice", "errorReason", "errorCode")


def frame(event: OrderEvent) -> Frame:
    """What a client sees of an event: unknown values are absent, times are UTC milliseconds."""
    return {
        "orderId": str(event.order_id),
        "seq": event.seq,
        "status": event.status,
        "timestamp": timestamp(event.occurred_at),
        **{name: event.payload[name] for name in FRAME_FIELDS if name in event.payload},
    }


def timestamp(moment: datetime) -> str:
    """2026-01-31T12:00:00.000Z"""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"
