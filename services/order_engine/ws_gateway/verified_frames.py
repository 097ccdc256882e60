"""Messages from pub/sub: only frames with a valid seal reach clients."""

import json
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution import metrics
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.seals import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A frame and what a feed needs to know about it. Clients receive `text` unchanged."""

    seq: int
    is_final: bool
    committed_at: datetime
    text: str


def verify_frame(message: bytes, *, order_id: OrderId, seal: Seal) -> Published | None:
    """The frame in a message on this order's channel; None when it is not one of the engine's.

    The seal shows that the engine made the frame, and its orderId that it belongs to this channel.
    An attacker in Redis can still repeat a frame; its seq makes that harmless.
    """
    text = seal.open(message)
    published = None if text is None else parsed(text, order_id=order_id)
    if published is None:
        reason = "unsealed" if text is None else "unreadable"
        metrics.EVENTS_DROPPED.labels(reason=reason).inc()
    return published


def parsed(text: str, *, order_id: OrderId) -> Published | None:
    """The frame; None when it is not valid JSON of a frame of this order."""
    try:
        frame = json.loads(text)
        status = OrderStatus(frame["status"])
        committed_at = datetime.fromisoformat(frame["timestamp"])
        seq = frame["seq"]
        if type(seq) is not int or committed_at.tzinfo is None or frame["orderId"] != str(order_id):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Published(seq=seq, is_final=status in FINAL, committed_at=committed_at, text=text)
