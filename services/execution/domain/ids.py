"""Ids are types: an order's id cannot be handed to something that wants another."""

from typing import NewType
from uuid import UUID

OrderId = NewType("OrderId", UUID)
AccountId = NewType("AccountId", str)
