"""What a client of the multiplexed stream may say.

{"op": "subscribe", "orderId": "...", "after": 3}     `after` may be left out: from the first on
{"op": "unsubscribe", "orderId": "..."}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from order_engine.execution.domain.errors import ExecutionError, OrderNotFound
from order_engine.execution.domain.ids import OrderId, order_id_in
from order_engine.execution.messages.streams import AFTER_MAX, ORDER_ID_CHARS_MAX

SURROGATE = re.compile(
    "[\ud800-\udfff]"
)  # half a character: strict parsers refuse the whole message


class BadRequest(ExecutionError):
    """Not JSON, or not one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    order_id: OrderId
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    order_id: OrderId


def fields_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON object in a message from the client; raises BadRequest where there is none."""
    try:
        fields = json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        raise BadRequest("not JSON") from None
    if not isinstance(fields, dict):
        raise BadRequest("not an object")
    return fields


def request_of(fields: Mapping[str, Any]) -> Subscribe | Unsubscribe:
    """Raises BadRequest, and OrderNotFound where the id is none."""
    op, text, after = fields.get("op"), fields.get("orderId"), fields.get("after", 0)
    if op not in ("subscribe", "unsubscribe") or not isinstance(text, str):
        raise BadRequest("an op and an orderId are needed")
    if type(after) is not int or not 0 <= after <= AFTER_MAX:
        raise BadRequest("after is not a seq")
    order_id = order_id_in(text)
    if order_id is None:
        raise OrderNotFound("not the id of an order")
    if op == "unsubscribe":
        return Unsubscribe(order_id=order_id)
    return Subscribe(order_id=order_id, after=after)


def after_of(text: str) -> int | None:
    """The seq in a query; None for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def echo_of(fields: Mapping[str, Any]) -> Mapping[str, str]:
    """The orderId as the client wrote it, to be sent back with an error; nothing for a monster."""
    text = fields.get("orderId")
    if not isinstance(text, str) or len(text) > ORDER_ID_CHARS_MAX or SURROGATE.search(text):
        return {}
    return {"orderId": text}
