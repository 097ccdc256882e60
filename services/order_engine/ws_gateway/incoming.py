"""What comes over pub/sub: a frame of ours, or nothing that a client would ever see."""

import json
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution import metrics
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.seals import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A frame, and what a feed needs to know of it. `text` goes to clients as it came."""

    seq: int
    is_final: bool
    committed_at: datetime
    text: str


def opened(message: bytes, *, order_id: OrderId, seal: Seal) -> Published | None:
    """The frame in a message on this order's channel; None where none of ours was sent there.

    A seal says that a frame is ours, and its orderId that it belongs here: who can write to Redis
    may still send it again, which its seq makes harmless.
    """
    text = seal.open(message)
    published = None if text is None else parsed(text, order_id=order_id)
    if published is None:
        reason = "unsealed" if text is None else "unreadable"
        metrics.EVENTS_DROPPED.labels(reason=reason).inc()
    return published


def parsed(text: str, *, order_id: OrderId) -> Published | None:
    """The frame; None for what no dispatcher of ours would publish on this order's channel."""
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
