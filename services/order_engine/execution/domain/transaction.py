"""What is sent to a venue, and its outcome.

A signed transaction may land at any time until the venue has committed that it never will. It has
one of three outcomes: a Fill, a Rejection, or an Expiry.
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
    """A transaction that is recorded before it is first sent; `n` counts an order's intents from 1."""

    n: int
    venue: VenueName
    transaction: Transaction
    quote: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The transaction landed and made the swap."""

    signature: Signature
    executed_price: Decimal
    amount_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The transaction landed without making the swap, and never lands again."""

    reason: str
    slippage_exceeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The venue has committed that the transaction never lands."""


Outcome = Fill | Rejection | Expiry
