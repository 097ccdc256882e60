"""The life of an order: a table of statuses and the moves between them.

    pending -> routing -> building -> submitted -> confirmed
       \\_________\\___________\\____________\\_______-> failed

TRANSITIONS is the one table of moves. SQL repeats lists of statuses, because constants cannot be
shared with it; a test holds each of those lists to this module. Two statements set a status: a move
of a claimed order (`orders/moves.py`) and a cancel by the gateway (`orders/cancellation.py`).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class OrderStatus(StrEnum):
    PENDING = "pending"  # committed; no worker has started it
    ROUTING = "routing"  # a worker is asking the venues for quotes
    BUILDING = "building"  # a venue has been chosen; its transaction is being built and signed
    SUBMITTED = "submitted"  # a signed transaction is recorded as intent; it may land at any time
    CONFIRMED = "confirmed"  # final: exactly one fill
    FAILED = "failed"  # final: no fill, now and later


TRANSITIONS: Mapping[OrderStatus, frozenset[OrderStatus]] = MappingProxyType(
    {
        OrderStatus.PENDING: frozenset({OrderStatus.ROUTING, OrderStatus.FAILED}),
        OrderStatus.ROUTING: frozenset({OrderStatus.BUILDING, OrderStatus.FAILED}),
        OrderStatus.BUILDING: frozenset({OrderStatus.SUBMITTED, OrderStatus.FAILED}),
        OrderStatus.SUBMITTED: frozenset({OrderStatus.CONFIRMED, OrderStatus.FAILED}),
        OrderStatus.CONFIRMED: frozenset(),
        OrderStatus.FAILED: frozenset(),
    }
)

FINAL: frozenset[OrderStatus] = frozenset(s for s, targets in TRANSITIONS.items() if not targets)

# The gateway may cancel an order until a transaction that could land is recorded.
CANCELLABLE = frozenset({OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING})
