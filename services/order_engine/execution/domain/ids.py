"""Ids are types, so that one id cannot be passed where another is expected."""

from typing import NewType
from uuid import UUID

OrderId = NewType("OrderId", UUID)
AccountId = NewType("AccountId", str)


def order_id_in(text: str) -> OrderId | None:
    """The id written with hyphens, in lower or upper case; None for anything else.

    UUID() alone also accepts braces and URNs.
    """
    try:
        order_id = UUID(text)
    except ValueError:
        return None
    return OrderId(order_id) if str(order_id) == text.lower() else None
