"""The commands that a client of the multiplexed stream may send.

{"op": "subscribe", "orderId": "...", "after": 3}     without `after`: all statuses
{"op": "unsubscribe", "orderId": "..."}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from order_engine.execution.domain.errors import ExecutionError, OrderNotFound
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.execution.messages.stream_contract import AFTER_MAX, ORDER_ID_CHARS_MAX

SURROGATE = re.compile("[\ud800-\udfff]")  # unpaired: strict parsers refuse the whole message


class BadRequest(ExecutionError):
    """The message is not JSON, or not a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    order_id: OrderId
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    order_id: OrderId


def parse_object(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON object in a message. Raises BadRequest when it has none."""
    try:
        fields = json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        raise BadRequest("not JSON") from None
    if not isinstance(fields, dict):
        raise BadRequest("not a JSON object")
    return fields


def parse_command(fields: Mapping[str, Any]) -> Subscribe | Unsubscribe:
    """Raises BadRequest, and OrderNotFound when `orderId` is not an id."""
    op, text, after = fields.get("op"), fields.get("orderId"), fields.get("after", 0)
    if op not in ("subscribe", "unsubscribe") or not isinstance(text, str):
        raise BadRequest("op must be subscribe or unsubscribe, and orderId a string")
    if type(after) is not int or not 0 <= after <= AFTER_MAX:
        raise BadRequest(f"after must be an integer from 0 to {AFTER_MAX}")
    order_id = order_id_in(text)
    if order_id is None:
        raise OrderNotFound("orderId is not the id of an order")
    if op == "unsubscribe":
        return Unsubscribe(order_id=order_id)
    return Subscribe(order_id=order_id, after=after)


def parse_after(text: str) -> int | None:
    """The seq in a query parameter; None when it is not one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def echoed_id(fields: Mapping[str, Any]) -> Mapping[str, str]:
    """The orderId as the client sent it, for an error; empty when it is not a short, valid string."""
    text = fields.get("orderId")
    if not isinstance(text, str) or len(text) > ORDER_ID_CHARS_MAX or SURROGATE.search(text):
        return {}
    return {"orderId": text}
