"""The channels of Redis pub/sub: one for each order."""

from typing import Any

CHANNEL_PREFIX = "order-events:"


def channel(order_id: Any) -> str:
    return f"{CHANNEL_PREFIX}{order_id}"
