"""Ids are types: an order's id cannot be handed to something that wants another."""

from typing import NewType
from uuid import UUID

OrderId = NewType("OrderId", UUID)
AccountId = NewType("AccountId", str)


def order_id_in(text: str) -> OrderId | None:
    """The id, as it is written in a frame or in capitals; None for anything else.

    UUID() alone would also read braces and URNs.
    """
    try:
        order_id = UUID(text)
    except ValueError:
        return None
    return OrderId(order_id) if str(order_id) == text.lower() else None
