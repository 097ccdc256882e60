"""What is sent to a venue, and what may become of it.

A signed transaction may land at any moment until the venue itself says that it never will. Only
three answers end the wait: a Fill, a Rejection, or an Expiry that the venue has committed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NewType

from order_engine.execution.domain.quote import VenueName

Signature = NewType("Signature", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A signed swap. The venue judges `valid_until` by its own clock."""

    signature: Signature
    content: bytes
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A transaction recorded before it is first sent; `n` counts an order's intents from 1."""

    n: int
    venue: VenueName
    transaction: Transaction
    quote: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The swap happened."""

    signature: Signature
    executed_price: Decimal
    amount_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The transaction landed without a swap and never lands again."""

    reason: str
    slippage_exceeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The venue has committed that the transaction never lands."""


Outcome = Fill | Rejection | Expiry
