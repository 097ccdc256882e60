from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """One committed transition of one order; `seq` counts from 1 without a gap.

    `payload` holds what became known with it, as `payload.py` writes it.
    """

    order_id: OrderId
    seq: int
    status: OrderStatus
    occurred_at: datetime
    payload: Mapping[str, Any]
